"""Loads compiled kernels without LLVM, which takes longer to start than all else that a first call needs.

What the compiler writes is an ELF object file: sections of code and constants, and the places in the code where
addresses are to be entered. For these kernels that is all the linking there is: one kind of place on x86-64, three on
ARM64, and of foreign functions the C library's that move memory. Whatever is not as expected is left to LLVM.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import struct
import sys
from typing import Any

FOREIGN = ("memcpy", "memmove", "memset")
UNUSED = (".eh_frame",)
"""Sections that are for exceptions; none passes through a kernel."""
_HEADER, _SECTION = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQIIQQ")
_SYMBOL, _RELOCATION = struct.Struct("<IBBHQQ"), struct.Struct("<QQq")
_RELOCATABLE = 1
_CODE, _SYMBOLS, _RELOCATIONS, _WITHOUT_ADDENDS, _ZEROS = 1, 2, 4, 9, 8
"""Types of sections."""
_WRITABLE, _LOADED = 1, 2
_ORDINARY = 0xFF00
"""Numbers of sections are below."""


class Unexpected(Exception):
    """An object file is not one of those that can be loaded here."""


class _X86:
    machine = 62
    stub = 0

    @staticmethod
    def enter(memory: bytearray, place: int, kind: int, address: int, base: int) -> None:
        """Write an address to its place in the memory, which will begin at ``base``."""
        if kind != 1:  # R_X86_64_64
            raise Unexpected(f"relocation {kind}")
        struct.pack_into("<Q", memory, place, address)

    @staticmethod
    def finish(base: int, size: int) -> None:
        """Whatever else processors want before they run what was written."""


class _Arm:
    machine = 183
    stub = 16

    @staticmethod
    def enter(memory: bytearray, place: int, kind: int, address: int, base: int) -> None:
        (word,) = struct.unpack_from("<I", memory, place)
        if 263 <= kind <= 269:  # R_AARCH64_MOVW_UABS_G0 to _G3: sixteen bits each
            word |= (address >> 16 * ((kind - 263) // 2) & 0xFFFF) << 5
        elif kind in (282, 283):  # R_AARCH64_JUMP26, R_AARCH64_CALL26
            distance = address - (base + place)
            if not -(1 << 27) <= distance < 1 << 27:
                raise Unexpected("a jump is too long")
            word |= distance >> 2 & 0x3FFFFFF
        else:
            raise Unexpected(f"relocation {kind}")
        struct.pack_into("<I", memory, place, word)

    @staticmethod
    def finish(base: int, size: int) -> None:
        try:
            clear = ctypes.CDLL("libgcc_s.so.1").__clear_cache
        except (OSError, AttributeError) as error:
            raise Unexpected("the instruction cache cannot be cleared") from error
        clear(ctypes.c_void_p(base), ctypes.c_void_p(base + size))


_MACHINES: dict[str, Any] = {"x86_64": _X86, "aarch64": _Arm}


@functools.cache
def _library() -> Any:
    """The C library, as this process has it."""
    library, pointer, size, number = ctypes.CDLL(None), ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.restype = pointer
    library.mmap.argtypes = pointer, size, number, number, number, ctypes.c_ssize_t
    library.mprotect.argtypes = pointer, size, number
    library.munmap.argtypes = pointer, size
    return library


def _foreign(name: str) -> int:
    """The address of a function of the C library."""
    if name not in FOREIGN:
        raise Unexpected(f"a call of {name}")
    return int(ctypes.cast(getattr(_library(), name), ctypes.c_void_p).value or 0)


class Image:
    """An object file as it will lie in memory."""

    def __init__(self, code: bytes, machine: Any) -> None:
        self.code, self.machine = code, machine
        head = _HEADER.unpack_from(code)
        if head[0][:7] != b"\x7fELF\x02\x01\x01" or head[1:3] != (_RELOCATABLE, machine.machine):
            raise Unexpected("no object file for this machine")
        first, size, count = head[6], head[11], head[12]
        self.sections = [_SECTION.unpack_from(code, first + size * k) for k in range(count)]
        self.places: dict[int, int] = {}
        """Of sections that are loaded, from the beginning."""
        self.size = 0
        names = self.sections[head[13]][4]
        for number, (label, kind, flags, _, _, length, _, _, align, _) in enumerate(self.sections):
            if flags & _LOADED and self._text(names + label) not in UNUSED:
                if kind not in (_CODE, _ZEROS) or flags & _WRITABLE or align > mmap.PAGESIZE:
                    raise Unexpected(f"a section of type {kind}")
                self.places[number] = self._room(length, align)
        (table,) = (s for s in self.sections if s[1] == _SYMBOLS)
        names = self.sections[table[6]][4]
        self.symbols = []
        for place in range(table[4], table[4] + table[5], _SYMBOL.size):
            label, _, _, section, value, _ = _SYMBOL.unpack_from(code, place)
            self.symbols.append((self._text(names + label), section, value))
        self.stubs = {name: self._room(machine.stub, 16) for name, section, _ in self.symbols if name and not section}

    def _text(self, place: int) -> str:
        return self.code[place : self.code.index(b"\0", place)].decode()

    def _room(self, length: int, align: int) -> int:
        start = -(-self.size // max(align, 1)) * max(align, 1)
        self.size = start + length
        return start

    def place(self, name: str) -> int:
        """Where a function of the file begins."""
        (found,) = ((section, value) for label, section, value in self.symbols if label == name)
        return self.places[found[0]] + found[1]

    def at(self, base: int) -> bytearray:
        """The contents of the memory that begins there."""
        memory = bytearray(self.size)
        for number, place in self.places.items():
            _, kind, _, _, start, length, *_ = self.sections[number]
            if kind == _CODE:
                memory[place : place + length] = self.code[start : start + length]
        foreign = {name: _foreign(name) for name in self.stubs}
        if self.machine.stub:
            for name, place in self.stubs.items():
                struct.pack_into("<IIQ", memory, place, 0x58000050, 0xD61F0200, foreign[name])  # ldr x16, 8; br x16
                foreign[name] = base + place
        for _, kind, _, _, start, length, _, target, _, _ in self.sections:
            if kind == _WITHOUT_ADDENDS:
                raise Unexpected("relocations without addends")
            if kind == _RELOCATIONS and target in self.places:
                for place in range(start, start + length, _RELOCATION.size):
                    offset, what, addend = _RELOCATION.unpack_from(self.code, place)
                    name, section, value = self.symbols[what >> 32]
                    address = base + self.places[section] + value if section else foreign[name]
                    where = self.places[target] + offset
                    self.machine.enter(memory, where, what & 0xFFFFFFFF, address + addend, base)
        return memory


def possible() -> bool:
    """Whether object files may be loaded on this system."""
    return sys.platform.startswith("linux") and os.uname().machine in _MACHINES


def load(code: bytes, symbol: str) -> int:
    """The address of a function of an object file, for as long as the process lives; 0 where that is for LLVM to do."""
    if not possible():
        return 0
    try:
        return _mapped(Image(code, _MACHINES[os.uname().machine]), symbol)
    except (Unexpected, OSError, AttributeError, LookupError, ValueError, struct.error):
        return 0


def _mapped(image: Image, symbol: str) -> int:
    """What is written here is never writable and executable at once."""
    entry, library = image.place(symbol), _library()
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    base = library.mmap(None, image.size, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
    if base in (None, ctypes.c_void_p(-1).value):
        return 0
    try:
        ctypes.memmove(base, bytes(image.at(base)), image.size)
        image.machine.finish(base, image.size)
        if library.mprotect(base, image.size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise Unexpected("the system lets nothing be executed that was written")
    except BaseException:
        library.munmap(base, image.size)
        raise
    return int(base) + entry
