"""Generates `layout.py` (NumPy dtypes) and `web/layout.js` (offsets) from `cwts.h`: the block has one description.

Run `python -m cwts.kernel.generate` after a change of the header; the tests fail while the generated files differ.
It reads the C that the header promises to use and refuses anything else; it is no C parser.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cwts.parameters import PARAMETERS, Parameter

ROOT = Path(__file__).resolve().parents[3]
HEADER = ROOT / "native_ext" / "kernel" / "cwts.h"
PARAMETERS_HEADER = HEADER.with_name("parameters.h")
PYTHON = Path(__file__).with_name("layout.py")
JAVASCRIPT = ROOT / "web" / "layout.js"

SCALARS = {
    "int64_t": ("<i8", 8),
    "uint64_t": ("<u8", 8),
    "int32_t": ("<i4", 4),
    "uint32_t": ("<u4", 4),
    "uint16_t": ("<u2", 2),
    "uint8_t": ("u1", 1),
    "char": ("S1", 1),
    "float": ("<f4", 4),
    "double": ("<f8", 8),
}
JS_TYPES = {
    "int64_t": "i64",
    "uint64_t": "u64",
    "int32_t": "i32",
    "uint32_t": "u32",
    "uint16_t": "u16",
    "uint8_t": "u8",
    "char": "char",
    "float": "f32",
    "double": "f64",
}
# What an enum's constants are called beyond CWTS_, where they have a prefix of their own.
PREFIXES = {
    "kind": "FRAME_",
    "command_op": "COMMAND_",
    "event": "EV_",
    "error": "E_",
    "sync_reason": "SYNC_",
    "reason": "WHY_",
    "order_state": "ORDER_",
    "stage": "STAGE_",
    "part": "PART_",
    "feature": "F_",
    "network_name": "NETWORK_",
    "link": "LINK_",
    "signal": "S_",
    "parameter": "P_",
    "nest_kind": "NEST_",
}
FLAGS = {"event", "part", "nest_kind"}


class HeaderError(Exception):
    """The header holds something that this generator does not read."""


@dataclass(frozen=True)
class Field:
    """One member: its C type, how many, and where."""

    name: str
    ctype: str
    count: int
    offset: int


@dataclass
class Struct:
    """One struct: its members, size and alignment in bytes."""

    name: str
    fields: list[Field] = field(default_factory=list)
    size: int = 0
    align: int = 1


@dataclass
class Layout:
    """Everything that the header says."""

    constants: dict[str, int]
    enums: dict[str, dict[str, int]]
    structs: dict[str, Struct]


def parse(text: str) -> Layout:
    """Reads the header's text. Raises HeaderError where a struct would need padding or a type is unknown."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    constants: dict[str, int] = {}
    enums: dict[str, dict[str, int]] = {}
    for name, body in re.findall(r"\benum\s*(\w*)\s*\{([^}]*)\}", text):
        values = {}
        for item in filter(None, (part.strip() for part in body.split(","))):
            key, _, value = (part.strip() for part in item.partition("="))
            values[key] = int(value, 0)
        if name:
            enums[name.removeprefix("cwts_")] = values
        else:
            constants |= values
    structs: dict[str, Struct] = {}
    for tag, body, name in re.findall(r"typedef struct (\w+) \{([^}]*)\} (\w+);", text):
        if tag != name:
            raise HeaderError(f"struct {tag} is called {name}")
        structs[name] = _parse_struct(name, body, constants, structs)
    return Layout(constants, enums, structs)


def _parse_struct(name: str, body: str, constants: dict[str, int], structs: dict[str, Struct]) -> Struct:
    struct = Struct(name)
    for line in filter(None, (part.strip() for part in body.split(";"))):
        match = re.fullmatch(r"(\w+)\s+(\w+)(?:\[(\w+)\])?", line)
        if not match:
            raise HeaderError(f"{name}: expected `type name` or `type name[count]`, got `{line}`")
        ctype, member, number = match.groups()
        count = 1 if number is None else constants[number] if number in constants else int(number)
        if ctype in SCALARS:
            size = align = SCALARS[ctype][1]
        elif ctype in structs:
            size, align = structs[ctype].size, structs[ctype].align
        else:
            raise HeaderError(f"{name}.{member}: unknown type {ctype}")
        if struct.size % align:
            raise HeaderError(f"{name}.{member} needs {align - struct.size % align} bytes of padding before it")
        struct.fields.append(Field(member, ctype, 0 if number is None else count, struct.size))
        struct.size += size * count
        struct.align = max(struct.align, align)
    if struct.size % struct.align:
        raise HeaderError(f"{name} needs padding at its end")
    return struct


def parameters_source(parameters: dict[str, Parameter]) -> str:
    """The text of `parameters.h`: names, and the ranges that the kernel holds them to."""
    lines = [
        "/* parameters.h: names and ranges of what app/cwts/parameters.toml lists and explains; generated from it",
        " * by cwts.kernel.generate. */",
        "#ifndef CWTS_PARAMETERS_H",
        "#define CWTS_PARAMETERS_H",
        "",
        "enum cwts_parameter {",
    ]
    names = [f"CWTS_P_{name.upper().replace('.', '_')}" for name in parameters]
    lines.append(",\n".join(f"    {name} = {index}" for index, name in enumerate(names)))
    lines += ["};", "", f"enum {{ CWTS_PARAMETER_COUNT = {len(names)} }};", ""]
    for what, values in (
        ("LOW", [p.low for p in parameters.values()]),
        ("HIGH", [p.high for p in parameters.values()]),
        ("DEFAULT", [p.default for p in parameters.values()]),
    ):
        numbers = ",\n".join(f"    {np.float32(value)!s}f" for value in values)
        lines += [f"static const float PARAMETER_{what}[CWTS_PARAMETER_COUNT] = {{", numbers, "};", ""]
    return "\n".join([*lines, "#endif", ""])


def _class_name(enum: str) -> str:
    return "".join(part.capitalize() for part in enum.split("_"))


def _short(enum: str, constant: str) -> str:
    short = constant.removeprefix("CWTS_").removeprefix(PREFIXES.get(enum, ""))
    return short if short.isidentifier() else f"_{short}"


def _wrapped(key: str, items: list[str]) -> list[str]:
    """`"key": [items],` in one line of at most 120 characters, or a line an item: as `ruff format` would."""
    line = f'        "{key}": [{", ".join(items)}],'
    if len(line) <= 120:
        return [line]
    return [f'        "{key}": [', *(f"            {item}," for item in items), "        ],"]


def python_source(layout: Layout) -> str:
    """The text of `layout.py`."""
    lines = [
        '"""The block\'s layout as NumPy dtypes, and cwts.h\'s constants. Generated by cwts.kernel.generate."""',
        "",
        "from __future__ import annotations",
        "",
        "from enum import IntEnum, IntFlag",
        "",
        "import numpy as np",
        "",
    ]
    lines += [f"{name.removeprefix('CWTS_')} = {value}" for name, value in layout.constants.items()]
    for enum, values in layout.enums.items():
        lines += ["", "", f"class {_class_name(enum)}({'IntFlag' if enum in FLAGS else 'IntEnum'}):"]
        lines += [f'    """cwts_{enum} of cwts.h."""', ""]
        lines += [f"    {_short(enum, name)} = {value}" for name, value in values.items()]
    lines += ["", ""]
    for struct in layout.structs.values():
        lines += [f"{struct.name.removeprefix('cwts_').upper()} = np.dtype(", "    {"]
        lines += _wrapped("names", [f'"{f.name}"' for f in struct.fields])
        formats = []
        for f in struct.fields:
            if f.ctype == "char":
                formats.append(f'"S{max(f.count, 1)}"')
                continue
            base = f'"{SCALARS[f.ctype][0]}"' if f.ctype in SCALARS else f.ctype.removeprefix("cwts_").upper()
            formats.append(f"({base}, ({f.count},))" if f.count else base)
        lines += _wrapped("formats", formats)
        lines += _wrapped("offsets", [str(f.offset) for f in struct.fields])
        lines += [f'        "itemsize": {struct.size},', "    }", ")"]
    return "\n".join(lines) + "\n"


def javascript_source(layout: Layout) -> str:
    """The text of `web/layout.js`."""
    lines = [
        "// The block's layout and the header's constants. Generated from cwts.h by cwts.kernel.generate.",
        "",
        "/**",
        " * @typedef {{offset: number, type: string, count: number}} Field  type: scalar or struct; count 0: no array",
        " * @typedef {{size: number, fields: Record<string, Field>}} Struct",
        " */",
        "",
        "/** @type {Record<string, number>} */",
        "export const CONSTANTS = {",
    ]
    lines += [f"  {name.removeprefix('CWTS_')}: {value}," for name, value in layout.constants.items()]
    lines += ["};", "", "/** @type {Record<string, Record<string, number>>} */", "export const ENUMS = {"]
    for enum, values in layout.enums.items():
        members = ", ".join(f"{_short(enum, name)}: {value}" for name, value in values.items())
        lines.append(f"  cwts_{enum}: {{ {members} }},")
    lines += ["};", "", "/** @type {Record<string, Struct>} */", "export const LAYOUT = {"]
    for struct in layout.structs.values():
        lines.append(f"  {struct.name}: {{")
        lines += [f"    size: {struct.size},", "    fields: {"]
        for f in struct.fields:
            ctype = JS_TYPES.get(f.ctype, f.ctype)
            lines.append(f'      {f.name}: {{ offset: {f.offset}, type: "{ctype}", count: {f.count} }},')
        lines += ["    },", "  },"]
    lines += ["};"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the files; says which ones changed."""
    parameters = parameters_source(PARAMETERS)
    layout = parse(parameters + HEADER.read_text(encoding="utf-8"))
    sources = (
        (PARAMETERS_HEADER, parameters),
        (PYTHON, python_source(layout)),
        (JAVASCRIPT, javascript_source(layout)),
    )
    for path, source in sources:
        changed = not path.exists() or path.read_text(encoding="utf-8") != source
        if changed:
            path.write_text(source, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'written' if changed else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
