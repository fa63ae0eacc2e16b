"""The stored form of proxies: one kind of file for programs, estimators and aggregates, with their conditions.

A file from a stranger is data: every key, size and number is checked, estimators are looked up by name, and programs
are read by the language's own reader. What determines a score is all in the file: the formula with its direction, the
layers it reads and the seed of its noise, and how the networks were built and excited.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationError

from eznas.conditions import Conditions, Units
from eznas.digests import content_digest
from eznas.errors import ConfigError, EznasError, ProgramError
from eznas.estimators import Estimator, by_name
from eznas.fitness.aggregation import MAX_TERMS, Floats, Mode
from eznas.forms import Form, form_of, json_of, sentence
from eznas.names import shown
from eznas.programs import directed_from_json, from_tree, parse, to_tree
from eznas.programs.storage import FORMAT as PROGRAM_FORMAT
from eznas.proxies.aggregate import RankAggregate, Reference
from eznas.proxies.program import ProgramProxy
from eznas.proxies.proxy import Proxy

FORMAT: Final = "eznas-proxy"
MAX_NETWORKS: Final = 100_000
"""Most networks of a reference."""
MAX_BYTES: Final = 48_000_000
"""Largest proxy file that is read: room for the scores of all members of an aggregate on all networks."""
_REMEDY: Final = "export it anew (eznas export, eznas aggregate)"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a line of printable characters is expected")
    return text


_Line = Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(_printable)]


class ProgramForm(Form):
    """A program as a proxy."""

    kind: Literal["program"] = "program"
    name: _Line
    direction: Literal[1, -1]
    units: Units | None = None
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] | None = None
    root: dict[str, Any]


class EstimatorForm(Form):
    """A published estimator, by its name; its definition is code, and not in the file."""

    kind: Literal["estimator"] = "estimator"
    name: _Line
    direction: Literal[1, -1]


class MemberForm(Form):
    """A member of an aggregate."""

    weight: Annotated[float, Field(strict=True, gt=0)]
    proxy: Annotated[ProgramForm | EstimatorForm, Field(discriminator="kind")]


class ScoresForm(Form):
    """Scores of one member on the reference: failures, and finite ones in ascending order."""

    failed: Annotated[int, Field(strict=True, ge=0, le=MAX_NETWORKS)]
    finite: Annotated[list[Annotated[float, Field(strict=True)]], Field(max_length=MAX_NETWORKS)]


class ReferenceForm(Form):
    """The networks that others are ranked among."""

    networks: _Line
    space: _Line
    digest: _Line
    n: Annotated[int, Field(strict=True, ge=2, le=MAX_NETWORKS)]
    scores: Annotated[list[ScoresForm], Field(min_length=1, max_length=MAX_TERMS)]


class AggregateForm(Form):
    """Several proxies as one."""

    kind: Literal["aggregate"] = "aggregate"
    name: _Line
    mode: Mode
    members: Annotated[list[MemberForm], Field(min_length=1, max_length=MAX_TERMS)]
    reference: ReferenceForm


class ProxyFile(Form):
    """What a proxy file holds."""

    format: Literal["eznas-proxy"] = FORMAT
    version: Literal[2] = 2
    proxy: Annotated[ProgramForm | EstimatorForm | AggregateForm, Field(discriminator="kind")]
    conditions: Conditions | None = None
    card: Annotated[dict[_Line, _Line], Field(max_length=100)] = Field(default_factory=dict)
    """For people: where it was found, and how well it ranks what."""
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of proxy, conditions and card; a file that has one is refused once it was changed by hand."""

    def own_digest(self) -> str:
        """What the digest is if nothing was changed."""
        return content_digest(self.model_dump(mode="json", exclude={"digest"}))


@dataclass(frozen=True, slots=True)
class StoredProxy:
    """A proxy with the conditions it was found under.

    Attributes:
        proxy: ready to score.
        conditions: of the networks its scores can be compared with; several if it was found on several samples; none
            if that is not known.
        card: what its file tells people.
        digest: of its file, if that has one.
    """

    proxy: Proxy
    conditions: tuple[Conditions, ...] = ()
    card: Mapping[str, str] = field(default_factory=dict, compare=False)
    digest: str | None = None


def proxy_to_json(
    proxy: Proxy,
    conditions: Conditions | None = None,
    card: Mapping[str, str] | None = None,
    *,
    is_sealed: bool = False,
) -> str:
    """The stored form as text; numbers in full precision.

    Args:
        proxy: to store.
        conditions: of the networks its scores can be compared with.
        card: for people, a label with a text each.
        is_sealed: whether the file has a digest of itself, by which a change by hand is noticed.

    Raises:
        ConfigError: if a proxy is neither a program, nor a published estimator, nor an aggregate of these; or if a name
            is no line of text.
    """
    form: ProgramForm | EstimatorForm | AggregateForm
    try:
        if isinstance(proxy, RankAggregate):
            conditions = proxy.conditions
            form = _aggregate_form(proxy)
        else:
            form = _form(proxy)
        file = ProxyFile(proxy=form, conditions=conditions, card=dict(card or {}))
    except ValidationError as error:
        problem = sentence(error, f"what is to be stored of {shown(proxy.name)}", ProxyFile)
        raise ConfigError(f"{problem}; give it another name") from None
    data = file.model_dump(mode="json", exclude={"digest"})
    return json.dumps({**data, "digest": file.own_digest()} if is_sealed else data, indent=1) + "\n"


def proxy_from_json(text: str, *, where: str = "The proxy file", name: str | None = None) -> StoredProxy:
    """The proxy a stored form describes; inverse of `proxy_to_json`. The stored form of a bare program will do.

    Args:
        text: of the file.
        where: what to call it in messages.
        name: to give the proxy; its own without.

    Raises:
        ProgramError: if the text is not JSON, not this format and version, names something unknown, or a key, size or
            number is not what it must be; one sentence.
    """
    if len(text) > MAX_BYTES:
        raise ProgramError(f"{where} has more than {MAX_BYTES} characters, at most {MAX_BYTES} are read; {_REMEDY}")
    if _format_of(text) == PROGRAM_FORMAT:
        try:
            program, direction = directed_from_json(text)
        except ProgramError as error:
            raise ProgramError(f"{where}: {error}") from None
        return StoredProxy(_program_proxy(name or program.digest, program, direction))
    file = form_of(ProxyFile, text, where=where, error=ProgramError, remedy=_REMEDY)
    if file.digest is not None and file.digest != file.own_digest():
        raise ProgramError(
            f"{where} was changed after it was written: its digest is of another formula, other conditions or another "
            "card; put it back, or take the digest out to have it as a proxy of your own"
        )
    try:
        conditions = (file.conditions,) if file.conditions is not None else ()
        if isinstance(file.proxy, AggregateForm):
            if file.conditions is None:
                raise ProgramError("an aggregate ranks among networks under some conditions, and the file has none")
            return StoredProxy(_aggregate(file.proxy, file.conditions, name), conditions)
        return StoredProxy(_proxy(file.proxy, name), conditions, dict(file.card), file.digest)
    except (EznasError, ValueError) as error:
        raise ProgramError(f"{where} is damaged: {str(error)[:300]}; {_REMEDY}") from None


def load_proxy_file(path: Path, *, name: str | None = None) -> StoredProxy:
    """The proxy in a file: stored form, or a formula as text.

    Raises:
        ProgramError: as `proxy_from_json`, naming the file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ProgramError(f"Cannot read proxy file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ProgramError(f"Proxy file {path} is not UTF-8 text; expected JSON of format {FORMAT!r}") from None
    if text.lstrip().startswith("("):
        try:
            return StoredProxy(ProgramProxy(name=name or path.stem, program=parse(text)))
        except EznasError as error:
            raise ProgramError(f"{path}: {error}") from None
    if name is None and _format_of(text) == PROGRAM_FORMAT:  # which has no name of its own
        name = path.stem
    return proxy_from_json(text, where=str(path), name=name)


# --- forms --------------------------------------------------------------------------------------------------------


def _format_of(text: str) -> object:
    try:
        data = json_of(text)
    except ValueError:
        return None
    return data.get("format") if isinstance(data, dict) else None


def _form(proxy: Proxy) -> ProgramForm | EstimatorForm:
    if isinstance(proxy, ProgramProxy):
        return ProgramForm(
            name=proxy.name, direction=proxy.direction, units=proxy.units, seed=proxy.seed, root=to_tree(proxy.program)  # type: ignore[arg-type]
        )  # fmt: skip
    if isinstance(proxy, Estimator) and by_name(proxy.name) == proxy:
        return EstimatorForm(name=proxy.name, direction=proxy.direction)  # type: ignore[arg-type]
    raise ConfigError(
        f"Proxy {proxy.name!r} is a {type(proxy).__name__}, whose definition is code; only programs, published "
        "estimators and aggregates of these can be stored"
    )


def _aggregate_form(aggregate: RankAggregate) -> AggregateForm:
    reference = aggregate.reference
    return AggregateForm(
        name=aggregate.name,
        mode=aggregate.mode,
        members=[
            MemberForm(weight=weight, proxy=_form(member))
            for member, weight in zip(aggregate.members, aggregate.weights, strict=True)
        ],
        reference=ReferenceForm(
            networks=reference.networks,
            space=reference.space,
            digest=reference.digest,
            n=reference.n,
            scores=[
                ScoresForm(failed=n_failed, finite=row[n_failed:].tolist())
                for row, n_failed in zip(reference.scores, reference.n_failed, strict=True)
            ],
        ),
    )


def _proxy(form: ProgramForm | EstimatorForm, name: str | None = None) -> Proxy:
    if isinstance(form, ProgramForm):
        program = from_tree(form.root)
        return _program_proxy(name or form.name, program, form.direction, units=form.units, seed=form.seed)
    published = by_name(form.name)
    if form.direction != published.direction:
        raise ProgramError(
            f"the direction of {form.name!r} is {published.direction}, as published, but the file says {form.direction}"
        )
    return published


def _program_proxy(name: str, program: Any, direction: int, **more: Any) -> ProgramProxy:
    if not program.is_complete:
        raise ProgramError(f"the program of {shown(name)} gives {program.type}, expected one number per network")
    return ProgramProxy(name=name, program=program, direction=direction, **more)


def _aggregate(form: AggregateForm, conditions: Conditions, name: str | None) -> RankAggregate:
    reference = form.reference
    if len(reference.scores) != len(form.members):
        raise ProgramError(f"the reference holds one list of scores for each of {len(form.members)} members")
    return RankAggregate(
        name=name or form.name,
        members=tuple(_proxy(member.proxy) for member in form.members),
        weights=tuple(member.weight for member in form.members),
        mode=form.mode,
        reference=Reference(
            networks=reference.networks,
            space=reference.space,
            digest=reference.digest,
            conditions=conditions,
            scores=np.stack([_scores(row, reference.n) for row in reference.scores]),
        ),
    )


def _scores(row: ScoresForm, n: int) -> Floats:
    """(n,) scores, ascending, failures first."""
    if len(row.finite) != n - row.failed:
        raise ProgramError(f"a member has {n} scores on the reference, {row.failed} of them failures; the list differs")
    values = np.array(row.finite, dtype=np.float64)
    if np.any(values[1:] < values[:-1]):
        raise ProgramError("the scores of a member on the reference must ascend")
    return np.concatenate([np.full(row.failed, -np.inf), values])
