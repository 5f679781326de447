"""Recorded operations as machine code of one call, by LLVM, which numba is built on.

A straight-line program of a thousand operations takes LLVM a fraction of a second, and numba, which first infers the
type of each number, a minute. The functions are the C library's, as Python's ``math`` calls them, and nothing is
rearranged, so the results have the bits of the Python program.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.metadata
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teach_gym.compiled.compiler import SETTING
from teach_gym.compiled.symbols import Symbol

FUNCTIONS = ("tanh", "sqrt", "log", "log1p", "exp", "power", "abs")
"""Functions of one or two numbers; of them ``sqrt`` and ``abs`` are instructions."""
_LIBRARY = {"tanh": 1, "log": 1, "log1p": 1, "exp": 1, "pow": 2}
"""Functions of the C library and their number of arguments."""
_OLDEST = (0, 45)
"""The first version of llvmlite whose LLVM takes pointers without a type."""
_CAREFUL = 600
"""Up to so many operations, LLVM is asked for good code, beyond for any code soon."""
_LOOP = 8
"""From so many consecutive numbers on, they are copied by a loop."""
_ARITHMETIC = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
_COMPARED = {"<": "olt", "<=": "ole", ">": "ogt", ">=": "oge"}


class Writer:
    """Writes a function of LLVM's language: ``step(block, t, first)``.

    Its block holds doubles at fixed places. A place is a number, or one of two texts: ``value + n`` counts from
    ``first``, and ``now + n`` and ``then + n`` count from the rows of step t and of the next one.

    Args:
        values: where the values begin that ``first`` counts from.
        rows: where the rows begin.
        width: numbers of a row.
        budget: number of rows.
    """

    def __init__(self, values: int, rows: int, width: int, budget: int) -> None:
        self.names: dict[str, tuple[str, str]] = {}
        self.count = 0
        self.lines = [
            "%upcoming = add i64 %t, 1",
            f"%before = icmp slt i64 %upcoming, {budget}",
            f"%next = select i1 %before, i64 %upcoming, i64 {budget - 1}",
            f"%value = add i64 %first, {values}",
            f"%past = mul i64 %t, {width}",
            f"%coming = mul i64 %next, {width}",
            f"%now = add i64 %past, {rows}",
            f"%then = add i64 %coming, {rows}",
            "%steps = sitofp i64 %t to double",
        ]

    def _fresh(self, text: str) -> str:
        self.count += 1
        name = f"%n{self.count}"
        self.lines.append(f"{name} = {text}")
        return name

    def load(self, name: str, place: int | str) -> None:
        """Name a number of the block."""
        self.names[name] = (self._fresh(f"load double, ptr {self._pointer(place)}"), "double")

    def _pointer(self, place: int | str) -> str:
        if isinstance(place, int):
            return self._fresh(f"getelementptr inbounds double, ptr %block, i64 {place}")
        base, _, offset = place.partition(" + ")
        index = self._fresh(f"add i64 %{base}, {offset}")
        return self._fresh(f"getelementptr inbounds double, ptr %block, i64 {index}")

    def steps(self, name: str) -> None:
        """Name the number of steps taken."""
        self.names[name] = ("%steps", "double")

    def record(self, symbol: Symbol) -> None:
        """Carry out an operation.

        Raises:
            NotImplementedError: an operation without an instruction.
        """
        operands = [self.value(o) for o in symbol.operands]
        self.names[symbol.name] = self._operation(symbol.template, operands)

    def value(self, entry: Any) -> tuple[str, str]:
        """A symbol or a number, and its type."""
        return self.names[entry.name] if isinstance(entry, Symbol) else (_number(float(entry)), "double")

    def double(self, entry: tuple[str, str]) -> str:
        """A value as a number."""
        return entry[0] if entry[1] == "double" else self._fresh(f"uitofp i1 {entry[0]} to double")

    def truth(self, entry: tuple[str, str]) -> str:
        """A value as true or false."""
        return entry[0] if entry[1] == "i1" else self._fresh(f"fcmp une double {entry[0]}, {_number(0.0)}")

    def _operation(self, template: str, operands: Sequence[tuple[str, str]]) -> tuple[str, str]:
        if template == "{} or {}":
            return self._fresh(f"or i1 {self.truth(operands[0])}, {self.truth(operands[1])}"), "i1"
        if template == "not {}":
            return self._fresh(f"xor i1 {self.truth(operands[0])}, true"), "i1"
        numbers = [self.double(o) for o in operands]
        middle = template[3:-3] if template.startswith("{} ") else ""
        if middle in _ARITHMETIC:
            return self._fresh(f"{_ARITHMETIC[middle]} double {numbers[0]}, {numbers[1]}"), "double"
        if middle in _COMPARED:
            return self._fresh(f"fcmp {_COMPARED[middle]} double {numbers[0]}, {numbers[1]}"), "i1"
        if template == "-{}":
            return self._fresh(f"fneg double {numbers[0]}"), "double"
        name, _, inside = template.partition("(")
        if name in ("min", "max"):  # as Python's: the second number where it is less or more, otherwise the first
            a, b = numbers if inside == "{}, {})" else numbers[::-1]
            better = self._fresh(f"fcmp {'olt' if name == 'min' else 'ogt'} double {b}, {a}")
            return self._fresh(f"select i1 {better}, double {b}, double {a}"), "double"
        if name in FUNCTIONS:
            called = {"sqrt": "llvm.sqrt.f64", "abs": "llvm.fabs.f64", "power": "pow"}.get(name, name)
            arguments = ", ".join(f"double {n}" for n in numbers)
            return self._fresh(f"call double @{called}({arguments})"), "double"
        raise NotImplementedError(f"no instruction for {template!r}")

    def store(self, place: int, entry: Any) -> None:
        """Write a symbol or a number to the block."""
        self.lines.append(f"store double {self.double(self.value(entry))}, ptr {self._pointer(place)}")

    def store_single(self, place: int, entries: Sequence[Any], places: Mapping[str, int | str]) -> None:
        """Write symbols and numbers in single precision from a place on; consecutive numbers of the rows by loops.

        Args:
            place: where to begin.
            entries: symbols and numbers.
            places: where the inputs among the symbols are.
        """
        base = self._pointer(place)
        start = 0
        while start < len(entries):
            length = _consecutive(entries[start:], places)
            if length >= _LOOP:
                self._copy(base, start, str(places[entries[start].name]), length)
            else:
                length = 1
                single = self._fresh(f"fptrunc double {self.double(self.value(entries[start]))} to float")
                at = self._fresh(f"getelementptr inbounds float, ptr {base}, i64 {start}")
                self.lines.append(f"store float {single}, ptr {at}")
            start += length

    @staticmethod
    def single(entries: Sequence[Any], places: Mapping[str, int | str]) -> set[str]:
        """The names of the symbols that ``store_single`` writes one by one."""
        found, start = set(), 0
        while start < len(entries):
            length = _consecutive(entries[start:], places)
            if length < _LOOP:
                length = 1
                if isinstance(entries[start], Symbol):
                    found.add(entries[start].name)
            start += length
        return found

    def _copy(self, base: str, start: int, place: str, length: int) -> None:
        """A loop that copies numbers from a place to those after ``base``, in single precision."""
        source = self._pointer(place)
        goal = self._fresh(f"getelementptr inbounds float, ptr {base}, i64 {start}")
        self.count += 1
        loop, end, i = f"loop{self.count}", f"end{self.count}", f"%i{self.count}"
        self.lines += [f"br label %begin{self.count}", f"begin{self.count}:", f"br label %{loop}", f"{loop}:"]
        self.lines += [f"{i} = phi i64 [0, %begin{self.count}], [{i}next, %{loop}]"]
        number = self._fresh(f"load double, ptr {self._fresh(f'getelementptr inbounds double, ptr {source}, i64 {i}')}")
        single = self._fresh(f"fptrunc double {number} to float")
        at = self._fresh(f"getelementptr inbounds float, ptr {goal}, i64 {i}")
        more = f"{i}more = icmp slt i64 {i}next, {length}"
        self.lines += [f"store float {single}, ptr {at}", f"{i}next = add i64 {i}, 1", more]
        self.lines += [f"br i1 {i}more, label %{loop}, label %{end}", f"{end}:"]

    def source(self) -> str:
        """The module's text."""
        declared = [f"declare double @{n}({', '.join(['double'] * k)})" for n, k in _LIBRARY.items()]
        declared += ["declare double @llvm.sqrt.f64(double)", "declare double @llvm.fabs.f64(double)"]
        body = ["define void @step(ptr %block, i64 %t, i64 %first) {", *(f"  {line}" for line in self.lines)]
        return "\n".join([*declared, *body, "  ret void", "}", ""])


def _consecutive(entries: Sequence[Any], places: Mapping[str, int | str]) -> int:
    """How many entries, from the first one on, lie one after the other in a row of data."""
    first = places.get(entries[0].name) if isinstance(entries[0], Symbol) else None
    if not isinstance(first, str):
        return 1
    base, _, offset = first.partition(" + ")
    for i, entry in enumerate(entries):
        if not isinstance(entry, Symbol) or places.get(entry.name) != f"{base} + {int(offset) + i}":
            return i
    return len(entries)


def _number(value: float) -> str:
    """LLVM's notation of a number, exact."""
    return "0x" + struct.pack(">d", value).hex().upper()


def installed() -> bool:
    """Whether LLVM and the C library's functions can be loaded, and compiling was not switched off."""
    return os.environ.get(SETTING, "1") != "0" and bool(_library())


@functools.lru_cache(maxsize=32)
def compiled(source: str, operations: int) -> Callable[[int, int, int], None]:
    """The function ``step`` of a module as machine code, which takes the address of its block.

    Args:
        source: the module.
        operations: its number of operations; long ones are compiled quickly rather than well.

    Raises:
        ImportError: there is no LLVM.
        RuntimeError: LLVM refuses the module.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name, function in _library().items():
        llvm.add_symbol(name, function)
    module = llvm.parse_assembly(source)
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=int(operations <= _CAREFUL))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    call = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(engine.get_function_address("step"))
    call.engine = engine  # type: ignore[attr-defined]  # the code lives as long as its engine
    return call


@functools.cache
def _library() -> Mapping[str, int]:
    """The addresses of the C library's functions; none where they or LLVM cannot be loaded."""
    try:
        major, minor = map(int, importlib.metadata.version("llvmlite").split(".")[:2])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return {}
    if (major, minor) < _OLDEST:
        return {}
    try:
        library = ctypes.CDLL("ucrtbase" if os.name == "nt" else ctypes.util.find_library("m"))
        return {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in _LIBRARY}
    except (OSError, AttributeError):
        return {}
