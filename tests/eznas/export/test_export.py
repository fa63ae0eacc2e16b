"""An exported proxy runs alone and gives the run's scores."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from eznas.conditions import Conditions
from eznas.errors import ConfigError, ProgramError
from eznas.estimators import by_name
from eznas.export import TARGETS, export_entry, export_proxy, export_python, proxy_card
from eznas.export import python as export
from eznas.programs import Invalid, Program, parse, to_latex
from eznas.proxies import KNOWN_PROGRAMS, ProgramProxy, gallery_names, gallery_proxy, published_proxy
from eznas.proxies.file import proxy_from_json
from eznas.runs.front import criterion_text, load_front
from eznas.spaces import nb201, networks_named
from eznas.statistics import ALL_STATISTICS, capture, counts
from eznas.statistics.graph import GRAPH_LAYER_STATISTICS, GRAPH_QUANTITIES
from eznas.study.gallery import WITHOUT_ANY, gallery_in
from primitives import EXTENDED, GENERAL, LABELLED, PAPER, PRIMITIVES
from tests.eznas.reporting.conftest import make_run
from tests.strategies import random_programs

CONDITIONS = Conditions(settings=nb201.Settings(channels=4), seed=5)
NOISE_SEED = 11
SIMPLE = "(mean_layers (mean_abs (divide weight_grad.noise weight)))"


def added(words: Iterable[str]) -> str:
    return functools.reduce("(add {} {})".format, words)


OF_THE_GRAPH = [
    parse(f"(sum_layers (multiply (mean weight_grad.noise) {added(GRAPH_LAYER_STATISTICS)}))"),
    parse(added(GRAPH_QUANTITIES)),
]
"""All words of the graph of layers, on what a probe shows, and alone."""

NETWORKS = '''
import torch
from torch import nn


class Mixed(nn.Module):
    """A grouped and a strided convolution, activations as module, in place and as a function, a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.block = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.GroupNorm(2, 6))
        self.widen = nn.Sequential(nn.Conv2d(6, 10, 3, stride=2, bias=False), nn.BatchNorm2d(10))
        self.classifier = nn.Linear(10, 4)

    def forward(self, images):
        x = self.stem(images)
        x = x + self.block(x.clone())
        x = self.widen(torch.relu(x))
        return self.classifier(torch.relu(x).mean(dim=(2, 3)))


def perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def networks():
    torch.manual_seed(0)
    return [Mixed(), Mixed(), perceptron()]
'''
DRIVER = """
import importlib.util, json, pathlib, sys

class NoProject:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("eznas", "primitives", "jaxtyping"):
            raise ImportError(f"the file imported {name}")

def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

sys.meta_path.insert(0, NoProject())
import torch
torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
networks, results = load(folder / "networks.py").networks(), {}
inputs, targets = torch.load(folder / "inputs.pt"), torch.load(folder / "targets.pt")
for path in sorted(folder.glob("proxy_*.py")):
    module = load(path)
    results[path.stem] = found = []
    for network in networks:
        try:
            found.append(module.score(network, inputs, targets=targets))
        except ValueError as error:
            found.append(str(error))
print(json.dumps(results))
"""


CLASSES = torch.tensor([0, 1, 2, 1, 0, 1])


def batch() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def proxy_of(program: Program, direction: int = 1) -> ProgramProxy:
    return ProgramProxy(name="exported", program=program, direction=direction, seed=NOISE_SEED)


def source_of(program: Program, direction: int = 1) -> str:
    return export_python(proxy_of(program, direction), CONDITIONS)


def exported(program: Program, folder: Path, *, direction: int = 1, name: str = "exported_proxy") -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(source_of(program, direction), encoding="utf-8")
    return load_module(path)


def run_alone(folder: Path) -> dict[str, list[float | str]]:
    """Scores of the exported files in `folder`, from an isolated Python in which this project cannot be imported."""
    torch.save(batch(), folder / "inputs.pt")
    torch.save(CLASSES, folder / "targets.pt")
    (folder / "networks.py").write_text(NETWORKS, encoding="utf-8")
    (folder / "driver.py").write_text(DRIVER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "driver.py", str(folder)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[float | str]] = json.loads(done.stdout)
    return found


@functools.cache
def drawn_programs() -> list[Program]:
    """Random programs of all sets, enough of them that every operator of the language occurs in one."""
    chosen: list[Program] = []
    missing = set(PRIMITIVES.values())
    for words in (EXTENDED, PAPER, LABELLED, GENERAL):
        drawn = [p for p in random_programs(words, 20, 1_000, max_height=6) if p.size <= 40]
        while drawn and (best := max(drawn, key=lambda p: len(missing & set(p.nodes)))) and missing & set(best.nodes):
            chosen.append(best)
            missing -= set(best.nodes)
    chosen.extend(random_programs(EXTENDED, 21, 8, max_height=5))
    chosen += OF_THE_GRAPH
    chosen.append(KNOWN_PROGRAMS["synflow_program"].program)
    assert not missing, missing
    return chosen


def test_exported_files_alone_score_as_the_interpreter_does(tmp_path: Path) -> None:
    programs = drawn_programs()
    for index, program in enumerate(programs):
        text = source_of(program, -1 if index % 3 == 0 else 1)
        (tmp_path / f"proxy_{index:03}.py").write_text(text, encoding="utf-8")
    found = run_alone(tmp_path)
    networks = load_module(tmp_path / "networks.py").networks()
    statistics = [
        capture(network, batch(), seed=NOISE_SEED, statistics=ALL_STATISTICS, targets=CLASSES) for network in networks
    ]
    n_scores = 0
    for index, program in enumerate(programs):
        proxy = proxy_of(program, -1 if index % 3 == 0 else 1)
        for shown, score in zip(statistics, found[f"proxy_{index:03}"], strict=True):
            expected = proxy.of(shown)
            if isinstance(expected, Invalid):
                assert str(score).startswith("No score for"), (program.text, score)
            else:
                assert score == pytest.approx(expected, rel=1e-4, abs=1e-30), program.text
                n_scores += 1
    assert n_scores > len(programs), "most drawn programs should have scores"


@pytest.mark.parametrize("name", ["snip_program", "epe_nas_program", "synflow_program"])
def test_an_exported_estimator_reads_all_layers_and_the_classes(name: str, tmp_path: Path) -> None:
    known = KNOWN_PROGRAMS[name]
    path = tmp_path / "exported_estimator.py"
    path.write_text(export_python(known, CONDITIONS), encoding="utf-8")
    network = CONDITIONS.network(nb201.from_index(6111))
    found = load_module(path).score(network, batch(), CLASSES)
    assert found == pytest.approx(by_name(str(known.equals)).score(network, batch(), CLASSES), rel=1e-4)
    if known.program.needs_classes:
        with pytest.raises(ValueError, match=r"class"):
            load_module(path).score(network, batch())


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_source_of_every_operator_can_be_carried(name: str) -> None:
    carried = export._Carried()
    carried.add(PRIMITIVES[name].function)
    tree = ast.parse("\n\n".join([*carried.constants(), *carried.definitions()]))
    assert PRIMITIVES[name].function.__name__ in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    assert not any(n.decorator_list for n in tree.body if isinstance(n, ast.FunctionDef))


def test_function_that_uses_what_cannot_be_carried_is_refused() -> None:
    carried = export._Carried()
    with pytest.raises(ProgramError, match="run_alone uses 'batch', which cannot be carried along"):
        carried.add(run_alone)


@pytest.mark.parametrize("index", [11_472, 4_000])
def test_prepare_and_score_give_the_score_of_the_run(index: int, tmp_path: Path) -> None:
    program = parse(f"(add {SIMPLE} (log_abs_determinant (sum_layers (agreement_kernel activation_input.perturbed))))")
    arch = nb201.from_index(index)
    in_run = CONDITIONS.network(arch)
    expected = proxy_of(program).score(in_run, batch())
    module = exported(program, tmp_path)
    elsewhere = Conditions(settings=nb201.Settings(channels=4, scheme="default"), seed=99)
    network = elsewhere.network(arch)
    before = module.score(network, batch())
    module.prepare(network)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), in_run.parameters(), strict=True))
    assert module.score(network, batch()) == pytest.approx(expected, rel=1e-6)
    assert before != pytest.approx(expected, rel=1e-3)


def test_imports_are_torch_and_the_standard_library_only() -> None:
    allowed = {"torch", "__future__", *sys.stdlib_module_names}
    for program in drawn_programs()[::4]:
        tree = ast.parse(source_of(program))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed
        assert not {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & {"eval", "exec", "Float", "primitive"}


@pytest.mark.parametrize(
    "text",
    [
        '"""\nraise SystemExit(7)\n"""', '\\"""', "\\", "\\N{DASH} \\x", '""""', "{0} {documentation}",
        "a\0b\rc\u2028d", "\ud800", "\u202eevil", "'" * 7,
    ],
    ids=repr,
)  # fmt: skip
def test_hostile_text_stays_in_the_docstring(text: str, tmp_path: Path) -> None:
    images = text.encode("utf-8", "replace").decode()
    conditions = Conditions(settings=nb201.Settings(channels=4), seed=5, images=images)
    source = export_python(proxy_of(parse(SIMPLE)), conditions, card={text: text, "n": text * 30})
    clean = source_of(parse(SIMPLE))
    code = [ast.dump(node) for node in ast.parse(source).body[1:]]
    assert code == [ast.dump(node) for node in ast.parse(clean).body[1:]]
    path = tmp_path / "hostile.py"
    path.write_text(source, encoding="utf-8")
    module = load_module(path)
    assert SIMPLE in str(module.__doc__)


def test_description_says_what_where_and_how_well(finished_run: Path) -> None:
    front = load_front(finished_run)
    assert front.pick is not None
    assert front.pick.program is not None
    source = export_entry(front, front.pick, "python")
    doc = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    for sample in front.samples:
        assert f"Held-out {sample.name}: Kendall tau-b {criterion_text(front.pick.report[sample.name].tau)}" in doc
    assert front.pick.program in doc
    conditions = str(front.samples[0].conditions)
    for expected in ("160 networks, test accuracy after 200 epochs", r"\sum_\ell", conditions):
        assert expected in doc


def test_a_cross_fitted_proxy_says_so(tmp_path: Path) -> None:
    front = load_front(make_run(tmp_path / "run", ["cifar10"], n_folds=5))
    assert front.pick is not None
    assert proxy_card(front, front.pick)["Report"].startswith("cross-fitted in 5 folds")


def test_names_from_a_front_do_not_break_the_card(finished_run: Path, tmp_path: Path) -> None:
    document = json.loads((finished_run / "front.json").read_text())
    evil = "\x1b[31m\x07\n\u2028"
    document["run"]["name"] = evil
    document["samples"][0].update(name=evil, provenance=evil)
    (naswot,) = [entry for entry in document["entries"] if entry["id"] == "naswot"]
    naswot["name"] = evil
    (tmp_path / "front.json").write_text(json.dumps(document))
    front = load_front(tmp_path)
    assert front.pick is not None
    for entry in (front.pick, front.entry("naswot")):
        for target in TARGETS:
            text = export_entry(front, entry, target)
            assert all(c.isprintable() or c == "\n" for c in text)
    card = proxy_card(front, front.pick)
    assert all(c.isprintable() for label, text in card.items() for c in label + text)


def test_direction_turns_scores_so_that_higher_is_better(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    up = exported(parse(SIMPLE), tmp_path, direction=1, name="proxy_up").score(network, batch())
    down = exported(parse(SIMPLE), tmp_path, direction=-1, name="proxy_down").score(network, batch())
    assert up == -down != 0


def test_network_is_left_as_found(tmp_path: Path) -> None:
    activation = nn.ReLU(inplace=True)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), activation, nn.Flatten(), nn.Linear(144, 2))
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    exported(parse(SIMPLE), tmp_path).score(network, batch())
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_score_that_is_not_finite_names_the_step(tmp_path: Path) -> None:
    module = exported(parse("(mean_layers (sqrt (exp (exp (numel weight)))))"), tmp_path)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    with pytest.raises(ValueError, match="No score for Sequential: non-finite after 'exp'"):
        module.score(network, batch())
    with pytest.raises(ValueError, match="has no unit"):
        module.score(nn.Identity(), batch())


def test_shapes_that_do_not_fit_are_a_value_error(tmp_path: Path) -> None:
    module = exported(parse("(mean_layers (element_mean (matmul weight convolution_input.data)))"), tmp_path)
    with pytest.raises(ValueError, match="No score for Sequential"):
        module.score(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), batch())


def test_prepare_says_what_it_does_not_draw(tmp_path: Path) -> None:
    module = exported(parse(SIMPLE), tmp_path)
    scale = nn.ParameterDict({"scale": torch.full((2,), 7.0)})
    with pytest.warns(UserWarning, match="^These parameters keep their values: 1.scale$"):
        network = module.prepare(nn.Sequential(nn.Embedding(3, 3), scale))
    assert (network[1]["scale"] == 7).all()
    with pytest.raises(ValueError, match="LazyLinear, whose shape is not known"):
        module.prepare(nn.LazyLinear(3))


def test_a_file_counts_what_is_counted_here(tmp_path: Path) -> None:
    module = exported(parse("(subtract mac_count parameter_count)"), tmp_path)
    encoder = nn.TransformerEncoderLayer(36, 2, 5, batch_first=True)  # 36 places of the convolution
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), encoder, nn.Flatten())
    expected = counts(network, batch())
    assert module.score(network, batch()) == expected["mac_count"] - expected["parameter_count"]
    assert "count_macs" not in source_of(parse(SIMPLE))


def test_what_a_file_need_not_know_it_does_not_hold() -> None:
    """The module of the graph of layers comes along with its words alone."""
    assert all("ModuleGraph" in source_of(program) for program in OF_THE_GRAPH)
    assert "ModuleGraph" not in source_of(parse(SIMPLE))


def test_program_of_the_architecture_alone_needs_no_statistics(tmp_path: Path) -> None:
    module = exported(parse("(log (multiply parameter_count unit_count))"), tmp_path)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert module.STATISTICS_READ == ()
    assert module.score(network, batch()) == pytest.approx(math.log(2 * n_parameters))


def test_equal_parts_are_computed_once() -> None:
    text = source_of(parse("(mean_layers (add (mean_abs weight) (mean_abs weight)))"))
    assert text.count("mean_abs(x) for x in") == 1


def test_other_forms() -> None:
    proxy = proxy_of(parse(SIMPLE), -1)
    stored = proxy_from_json(export_proxy(proxy, "json", conditions=CONDITIONS))
    assert stored.proxy == proxy.bound(CONDITIONS)
    assert stored.conditions == (CONDITIONS,)
    assert r"\frac" in export_proxy(proxy, "latex", conditions=CONDITIONS)
    symbolic = export_proxy(proxy, "sympy", conditions=CONDITIONS)
    assert "mean_layers(mean_abs(weight*weight_grad.noise/(epsilon_div**2" in symbolic
    with pytest.raises(ConfigError, match="Unknown form of an exported proxy 'pyton'; did you mean 'python'"):
        export_proxy(proxy, "pyton", conditions=CONDITIONS)


def test_an_estimator_has_a_file_but_no_formula() -> None:
    zen = published_proxy("zen")
    assert proxy_from_json(export_proxy(zen, "json", conditions=CONDITIONS)).proxy == zen
    for target in ("python", "latex", "sympy"):
        with pytest.raises(ConfigError, match="'zen' is no program"):
            export_proxy(zen, target, conditions=CONDITIONS)


def test_a_file_that_reads_layers_scores_attention_in_windows_as_the_proxy_does(tmp_path: Path) -> None:
    """Of images x windows on the first axis, with the words for roles."""

    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.qkv, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 24), nn.Linear(8, 5)
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.patch(x)
            t = x.unflatten(3, (2, 2)).permute(0, 3, 2, 4, 1).reshape(-1, 8, 8)  # images x windows, tokens, channels
            q, k, v = self.qkv(t).relu().transpose(0, 1).chunk(3, -1)
            return self.head(self.attention(q, k, v)[0].unflatten(1, (len(x), -1)).mean((0, 2)))

    text = "(log_abs_determinant (sum_layers (without (agreement_kernel activation_input.data) is_stem)))"
    proxy = replace(proxy_of(parse(text)), units="layers")
    torch.manual_seed(0)
    network = Windows()
    path = tmp_path / "exported_layers.py"
    path.write_text(export_python(proxy, CONDITIONS), encoding="utf-8")
    module = load_module(path)
    assert "each convolution and linear layer and the activation that feeds it" in (module.__doc__ or "")
    assert module.score(network, batch()) == pytest.approx(proxy.score(network, batch()), rel=1e-6)


@pytest.mark.parametrize("name", gallery_names())
def test_what_the_gallery_exports_scores_as_the_gallery_does(name: str, tmp_path: Path) -> None:
    stored = gallery_proxy(name)
    path = tmp_path / f"gallery_{name}.py"
    path.write_text(gallery_in(name, "python", width=80), encoding="utf-8")
    module = load_module(path)
    conditions = WITHOUT_ANY.model_copy(update={"input_size": 8})
    inputs, _ = conditions.batch(4)
    assert isinstance(stored.proxy, ProgramProxy)
    for arch in networks_named("nb201:random:3:2"):
        network = conditions.network(arch)
        expected = stored.proxy.bound(conditions).score(network, inputs)
        assert math.isfinite(expected)
        assert module.score(network, inputs) == pytest.approx(expected, rel=1e-6)
    latex = gallery_in(name, "latex", width=80)
    assert latex.strip() == to_latex(stored.proxy.program, direction=stored.proxy.direction)
