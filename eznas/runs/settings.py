"""Every setting of a run with its default and what it means, as `config` declares it; a commented TOML of them.

The meanings are the docstrings beside the fields, and the bounds are those of their types: there is no second list.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eznas.forms import meanings
from eznas.runs.config import BenchmarkSettings, RunConfig, SampleSettings, load_config
from eznas.spaces import space_named

SAMPLES: Final = "samples"
_EACH: Final = f"{SAMPLES}[]"
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting.

    Attributes:
        section: of the file; empty at its head.
        name: in the section.
        default: None if the setting is left out.
        kind: what values it takes, in words.
        meaning: a sentence or more.
    """

    section: str
    name: str
    default: Any
    kind: str
    meaning: str

    @property
    def key(self) -> str:
        """As ``--set`` and messages call it."""
        return f"{self.section}.{self.name}" if self.section else self.name

    def as_dict(self) -> dict[str, Any]:
        """For tables; a default as TOML writes it."""
        return {
            "setting": self.key, "default": toml_value(self.default), "takes": self.kind, "meaning": self.meaning,
        }  # fmt: skip


def settings_of(config: RunConfig | None = None, beginning: str = "") -> tuple[Setting, ...]:
    """Every setting, section by section.

    Args:
        config: whose benchmark says which settings networks have; the defaults without it.
        beginning: of the keys that are wanted; all without it.
    """
    config = config or RunConfig()
    found = [*_fields(RunConfig, "", skip=(*(name for name, _ in _sections(config)), SAMPLES))]
    for name, section in _sections(config):
        found += _fields(section, name)
    found += _fields(RunConfig, "", skip=tuple(n for n in RunConfig.model_fields if n != SAMPLES))
    found += _fields(SampleSettings, _EACH, skip=tuple(BenchmarkSettings.model_fields))
    return tuple(one for one in found if one.key.startswith(beginning))


def changes(config: RunConfig) -> tuple[tuple[str, Any, Any], ...]:
    """The settings that differ from the defaults: key, default, value; None where a setting is left out."""
    plain = RunConfig(networks=space_named(config.networks.space).settings())
    rows = [*_differences(_dump(plain), _dump(config), "")]
    for number, sample in enumerate(config.samples):
        blank = _dump(SampleSettings())
        if sample.settings is not None:
            blank["settings"] = _dump(space_named(sample.settings.space).settings())
        rows += _differences(blank, _dump(sample), f"{SAMPLES}[{number}].")
    return tuple(rows)


def read_settings_of(run: Path) -> RunConfig:
    """The settings of a run folder, or of a TOML file.

    Raises:
        ConfigError: if there are none, or they cannot be read.
    """
    return load_config(run / "config.toml" if run.is_dir() else run)


def commented_toml(config: RunConfig | None = None, *, beginning: str = "", only_changes: bool = False) -> str:
    """Every setting with its meaning as a comment: a file that `eznas.load_config` reads.

    Args:
        config: the values; the defaults without it.
        beginning: of the keys that are wanted; all without it.
        only_changes: settings that are their defaults stand in comments, as what they are without being set.
    """
    config = config or RunConfig()
    changed = {key for key, *_ in changes(config)}
    lines: list[str] = []
    section = ""
    for one in settings_of(config, beginning):
        if one.key == SAMPLES:
            continue
        if one.section != section:
            section = one.section
            title = f"# [[{SAMPLES}]]" if section == _EACH else f"[{section}]"
            lines += [title, *_comment(_section_meaning(config, section)), ""]
        lines += [*_comment(one.meaning), *_comment(f"Takes {one.kind}.")]
        value = one.default if section == _EACH else _value(config, one)
        is_said = value is not None and section != _EACH and not (only_changes and one.key not in changed)
        lines += [f"{'' if is_said else '# '}{one.name} = {toml_value(value)}".rstrip(), ""]
    return "\n".join(lines)  # an empty line comes last


def toml_value(value: Any) -> str:
    """A value as TOML writes it; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items() if one is not None) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(config: RunConfig, one: Setting) -> Any:
    return _plain(getattr(getattr(config, one.section) if one.section else config, one.name))


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False)]


def _section_meaning(config: RunConfig, section: str) -> str:
    if section == _EACH:
        return f"{meanings(RunConfig)[SAMPLES]} Each takes the settings of [benchmark] too."
    said = meanings(RunConfig).get(section) or type(getattr(config, section)).__doc__ or ""
    return " ".join(said.split())


def _sections(config: RunConfig) -> Iterator[tuple[str, type[BaseModel]]]:
    for name in RunConfig.model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield name, type(value)


def _fields(model: type[BaseModel], section: str, *, skip: Sequence[str] = ()) -> Iterator[Setting]:
    said = meanings(model)
    for name, field in model.model_fields.items():
        if name not in skip:
            yield Setting(
                section=section, name=name, default=_plain(field.get_default()), kind=_kind_of(field),
                meaning=said.get(name, ""),
            )  # fmt: skip


def _plain(value: Any) -> Any:
    """A default as a file holds it."""
    if isinstance(value, BaseModel):
        return _dump(value) or None
    return list(value) if isinstance(value, tuple) else value


def _dump(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_none=True)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if prefix == "" and key == SAMPLES:
            continue
        if isinstance(old or {}, Mapping) and isinstance(new or {}, Mapping) and (old or new):
            yield from _differences(old or {}, new or {}, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new


# --- types in words -----------------------------------------------------------------------------------------------


def _kind_of(field: FieldInfo) -> str:
    return _kind(field.annotation, field.metadata)


def _kind(annotation: Any, limits: Sequence[Any]) -> str:
    """What an annotation takes, in words, such as ``a whole number from 1 to 1,000``."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _kind(inner, [*limits, *_limits(more)])
    if get_origin(annotation) in (Union, UnionType):
        parts = [_kind(one, limits) for one in get_args(annotation) if one is not NoneType]
        return " or ".join(dict.fromkeys(parts))
    if get_origin(annotation) is Literal:
        return " or ".join(json.dumps(one) for one in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "a list: " + _kind(get_args(annotation)[0], [])
    if annotation is bool:
        return "true or false"
    if annotation in (int, float):
        return ("a whole number" if annotation is int else "a number") + _range(limits)
    if annotation is str:
        return "text"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(json.dumps(one.value) for one in annotation)
    return "a table"


def _limits(metadata: Sequence[Any]) -> list[Any]:
    return [limit for one in metadata for limit in (one.metadata if isinstance(one, FieldInfo) else [one])]


def _range(limits: Sequence[Any]) -> str:
    """Bounds in words."""
    least = next((one.ge for one in limits if getattr(one, "ge", None) is not None), None)
    above = next((one.gt for one in limits if getattr(one, "gt", None) is not None), None)
    most = next((one.le for one in limits if getattr(one, "le", None) is not None), None)
    low = f" from {_number(least)}" if least is not None else f" above {_number(above)}" if above is not None else ""
    return low + (f" to {_number(most)}" if most is not None else "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
