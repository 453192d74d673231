"""A machine that runs PTX without a GPU, one NumPy array per register with an element for each thread.

It knows the instructions that the kernels of this package are compiled to, and raises NotImplementedError for any
other. Arithmetic is that of the PTX manual: every operation of floats rounds to nearest even, subnormals are kept.
It serves to compare the bits of what the compiler made with those of the CPU's kernels; it says nothing of speed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastact.cuda.evaluate import fma

Array = np.ndarray[Any, Any]
BASE = 1 << 32
"""The first address of the memory."""
TYPES: dict[str, Any] = {
    "f16": np.float16, "f32": np.float32, "f64": np.float64, "pred": np.bool_,
    "s8": np.int8, "s16": np.int16, "s32": np.int32, "s64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "b8": np.uint8, "b16": np.uint16, "b32": np.uint32, "b64": np.uint64,
}  # fmt: skip
_RAW = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_INSTRUCTION = re.compile(r"(?:@(!?)(%p\d+)\s+)?([a-z][\w.]*)\s*(.*?)$", re.DOTALL)
_NOBODY, _SEVERAL = -1, -2
_ANY = re.compile(
    r"\{\s*\.reg[^;]*;\s*\.reg[^;]*;\s*setp\.ne\.u32\s+%p1,\s*(%r\d+),\s*0;\s*bar\.red\.or\.pred\s+%p2,\s*0,\s*%p1;"
    r"\s*selp\.u32\s+(%r\d+),\s*1,\s*0,\s*%p2;\s*\}"
)
"""A barrier that tells whether a number of any thread is not 0: taken for one instruction."""
_UPPER = re.compile(r"\{\s*\.reg\s+\.b16\s+tmp;\s*(mov\.b32\s+\{tmp,\s*%\w+\},\s*%\w+;)\s*\}")
"""The upper half of a register, which leaves the lower one to a register of its own."""
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*")
_COMPARE: dict[str, Any] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
_UNORDERED = {"equ": "eq", "neu": "ne", "ltu": "lt", "leu": "le", "gtu": "gt", "geu": "ge"}


@dataclass(frozen=True)
class Instruction:
    """One line: ``guard`` is the predicate under which it is done, if ``negated`` the one under which it is not."""

    parts: tuple[str, ...]
    operands: tuple[str, ...]
    guard: str = ""
    negated: bool = False

    @property
    def op(self) -> str:
        return self.parts[0]

    def __str__(self) -> str:
        return f"{'.'.join(self.parts)} {', '.join(self.operands)}"


@dataclass
class Program:
    """The one kernel of a PTX text."""

    name: str
    parameters: list[str]
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, Array] = field(default_factory=dict)
    rooms: set[str] = field(default_factory=set)
    """Names of the memory that each block has to itself."""
    widths: dict[str, int] = field(default_factory=dict)
    """Bytes of the registers, by what their names begin with."""


def parse(text: str) -> Program:
    """The kernel with the tables it looks things up in."""
    text = re.sub(r"//[^\n]*", "", text)
    head = re.search(r"\.entry\s+(\w+)\s*\(([^)]*)\)", text)
    if head is None:
        raise ValueError("no kernel in this PTX")
    program = Program(head[1], re.findall(r"\.param\s+\.\w+\s+(\w+)", head[2]))
    table = r"\.(?:global|const)\s+\.align\s+\d+\s+\.(\w+)\s+(\w+)\[\d+\]\s*=\s*\{([^}]*)\}"
    for kind, name, values in re.findall(table, text):
        program.tables[name] = np.array([_literal(v.strip(), kind) for v in values.split(",")]).view(np.uint8)
    program.rooms.update(re.findall(r"\.extern\s+\.shared\s+[^;]*?(\w+)\[\];", text))
    body = _ANY.sub(r"bar.red.or.b32 \2, \1;", text[head.end() :])
    body = _UPPER.sub(r"\1", body[body.index("{") + 1 : body.rindex("}")])
    for kind, prefix in re.findall(r"\.reg\s+\.(\w+)\s+(%[a-z]+)<", body):
        program.widths[prefix] = np.dtype(TYPES[kind]).itemsize
    for piece in re.split(r";|(?<=:)\s", body):
        piece = piece.strip()
        if piece.endswith(":"):
            program.labels[piece[:-1]] = len(program.instructions)
        elif piece and not piece.startswith("."):
            found = _INSTRUCTION.match(piece)
            assert found is not None, piece
            operands = tuple(o.strip() for o in _OPERAND.findall(found[4]))
            guard = found[2] or ""
            program.instructions.append(Instruction(tuple(found[3].split(".")), operands, guard, bool(found[1])))
    return program


def _literal(text: str, kind: str) -> Any:
    """A constant as a NumPy number of the type."""
    dtype = TYPES[kind]
    if text.startswith("0f"):
        return np.array([int(text[2:], 16)], np.uint32).view(np.float32)[0].astype(_floats(dtype))
    if text.startswith("0d"):
        return np.array([int(text[2:], 16)], np.uint64).view(np.float64)[0]
    value, size = int(text, 0), np.dtype(dtype).itemsize
    return np.array([value & (1 << 8 * size) - 1], np.uint64).astype(_RAW[size]).view(dtype)[0]


def _floats(dtype: Any) -> Any:
    return dtype if np.dtype(dtype).kind == "f" else np.float32


class Machine:
    """Memory and threads; `launch` runs a kernel."""

    def __init__(self, size: int = 1 << 20) -> None:
        self.memory: Array = np.zeros(size, np.uint8)
        self.used = 0
        self.loaded: set[str] = set()
        """The kinds of access to memory that were made."""

    def place(self, values: Array, offset: int = 0) -> int:
        """Put an array into memory; its address, a multiple of 256 and ``offset`` more."""
        start = (self.used + 255) // 256 * 256 + offset
        raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.used = start + raw.size
        if self.used > self.memory.size:
            more = np.zeros(2 * self.used, np.uint8)
            more[: self.memory.size] = self.memory
            self.memory = more
        self.memory[start : self.used] = raw
        return BASE + start

    def read(self, address: int, count: int, dtype: Any) -> Array:
        start = address - BASE
        return self.memory[start : start + count * np.dtype(dtype).itemsize].view(dtype).copy()

    def launch(
        self, program: Program, blocks: int, threads: int | tuple[int, int], arguments: list[int], shared: int = 0
    ) -> Array:
        """Run all threads at once; those that are behind go first, so that they meet again after a branch.

        ``threads`` may be (x, y); ``shared`` are bytes of memory that each block has to itself. Returns how many warps
        each instruction was issued for, if a block is made of whole warps."""
        assert len(arguments) == len(program.parameters), (len(arguments), program.parameters)
        shape = threads if isinstance(threads, tuple) else (threads, 1)
        run = _Run(self, program, blocks, shape, arguments, shared)
        with np.errstate(all="ignore"):
            run.go()
        return run.issued


class _Run:
    def __init__(
        self, machine: Machine, program: Program, blocks: int, shape: tuple[int, int], arguments: list[int], shared: int
    ) -> None:
        self.machine, self.program = machine, program
        (wide, high), threads = shape, shape[0] * shape[1]
        count = blocks * threads
        lane = np.arange(count, dtype=np.uint32)
        self.special = {
            "%tid.x": lane % np.uint32(wide), "%tid.y": lane % np.uint32(threads) // np.uint32(wide),
            "%ntid.x": np.full(count, wide, np.uint32), "%ntid.y": np.full(count, high, np.uint32),
            "%ctaid.x": lane // np.uint32(threads), "%nctaid.x": np.full(count, blocks, np.uint32),
        }  # fmt: skip
        self.threads, self.block = threads, lane.astype(np.int64) // threads
        self.room = np.zeros(blocks * shared, np.uint8)
        self.shared = shared
        self.written, self.read = (np.full(self.room.size // 2, _NOBODY, np.int64) for _ in range(2))
        """Who wrote and who read each 16 bits of that memory since the last barrier."""
        self.arguments = dict(zip(program.parameters, arguments, strict=True))
        self.tables = {name: machine.place(values) for name, values in program.tables.items()}
        self.count = count
        self.registers: dict[str, Array] = {}
        self.counter = np.zeros(count, np.int64)
        self.waiting, self.votes = np.zeros(count, bool), np.zeros(count, bool)
        self.mask: Array = np.ones(count, bool)
        self.everyone = True
        self.issued = np.zeros(len(program.instructions), np.int64)

    def go(self) -> None:
        end = len(self.program.instructions)
        starts = set(self.program.labels.values())
        while True:
            ready = (self.counter < end) & ~self.waiting
            if not ready.any():
                if not self.waiting.any():
                    return
                self.release()
                continue
            place = int(self.counter[ready].min())
            self.mask = ready & (self.counter == place)
            self.everyone = bool(self.mask.all())
            warps = int(self.padded(self.mask).any(axis=1).sum())
            while place < end:
                instruction = self.program.instructions[place]
                self.issued[place] += warps
                place += 1
                if instruction.op in ("bra", "ret"):
                    target = end if instruction.op == "ret" else self.program.labels[instruction.operands[0]]
                    taken = self.mask if not instruction.guard else self.mask & self.guard(instruction)
                    self.counter[self.mask] = place
                    self.counter[taken] = target
                    break
                self.do(instruction)
                if place in starts or instruction.op in ("bar", "barrier"):
                    self.counter[self.mask] = place
                    break
            else:
                self.counter[self.mask] = end

    def padded(self, mask: Array) -> Array:
        """A row for each warp; the last one of a block may have fewer threads than others."""
        own = mask.reshape(-1, self.threads)
        missing = -self.threads % 32
        return (np.pad(own, ((0, 0), (0, missing))) if missing else own).reshape(-1, 32)

    # -- operands -----------------------------------------------------------------------------------------------
    def guard(self, instruction: Instruction) -> Array:
        found = self.registers[instruction.guard]
        return ~found if instruction.negated else found

    def get(self, text: str, kind: str) -> Array:
        """An operand as an array of the type."""
        dtype = TYPES[kind]
        if text in self.special:
            return self.special[text]
        if text.startswith("%") or text.startswith("!%"):
            raw = self.registers[text.lstrip("!")]
            if kind == "pred":
                return ~raw if text.startswith("!") else raw
            size = np.dtype(dtype).itemsize
            if raw.itemsize > size:
                raw = raw.astype(_RAW[size])
            assert raw.itemsize == size, (text, kind)
            return raw.view(dtype)
        if text in self.program.rooms:
            return np.zeros(self.count, np.uint64)
        if text in self.tables:
            return np.full(self.count, self.tables[text], np.uint64)
        return np.full(self.count, _literal(text, kind))

    def set(self, name: str, value: Array) -> None:
        if name == "_":
            return
        value = np.broadcast_to(value, (self.count,))
        width = self.program.widths[name.rstrip("0123456789")]
        if value.dtype.kind in "iu" and value.itemsize < width:  # by its sign, if it has one
            value = value.astype(f"{value.dtype.kind}{width}")
        assert value.itemsize == width, (name, value.dtype)
        raw = value if value.dtype == bool else np.ascontiguousarray(value).view(_RAW[value.itemsize])
        old = self.registers.get(name)
        if not self.everyone and old is not None:
            raw = np.where(self.mask, raw, old)
        self.registers[name] = raw

    def address(self, i: Instruction, text: str) -> Array:
        """Offsets into memory of an operand in brackets; threads that are not there get 0."""
        register, _, offset = text.strip("[]").partition("+")
        base = self.get(register, "u64").astype(np.int64)
        where = base + int(offset or "0", 0)
        if i.parts[1] != "shared":
            where -= BASE
        return np.where(self.mask, where, 0)

    # -- instructions -------------------------------------------------------------------------------------------
    def do(self, i: Instruction) -> None:
        if i.guard:
            raise NotImplementedError(f"only branches may be guarded: {i}")
        handler = getattr(self, f"do_{i.op}", None)
        if handler is None:
            raise NotImplementedError(str(i))
        if {"ftz", "approx", "sat", "full"} & set(i.parts):
            raise NotImplementedError(f"not as IEEE has it: {i}")
        handler(i)

    def do_ld(self, i: Instruction) -> None:
        kind = i.parts[-1]
        if i.parts[1] == "param":  # perhaps the lower half of one
            name, _, offset = i.operands[1].strip("[]").partition("+")
            value = (self.arguments[name] % 2**64) >> 8 * int(offset or "0")
            size = np.dtype(TYPES[kind]).itemsize
            cell = np.array([value % 2 ** (8 * size)], np.uint64).astype(_RAW[size]).view(TYPES[kind])
            self.set(i.operands[0], np.full(self.count, cell[0]))
            return
        names = i.operands[0].strip("{}").split(",")
        where, size = self.address(i, i.operands[1]), np.dtype(TYPES[kind]).itemsize
        self.aligned(where, size * len(names), i)
        where, memory = self.placed(i, where, size * len(names))
        cells = memory.view(_RAW[size])
        for k, name in enumerate(names):
            self.set(name.strip(), cells[where // size + k].view(TYPES[kind]))

    def do_st(self, i: Instruction) -> None:
        kind = i.parts[-1]
        names = i.operands[1].strip("{}").split(",")
        where, size = self.address(i, i.operands[0]), np.dtype(TYPES[kind]).itemsize
        self.aligned(where, size * len(names), i)
        where, memory = self.placed(i, where, size * len(names))
        cells = memory.view(_RAW[size])
        for k, name in enumerate(names):
            values = self.get(name.strip(), kind).view(_RAW[size])
            cells[where[self.mask] // size + k] = values[self.mask]

    def aligned(self, where: Array, size: int, i: Instruction) -> None:
        if i.parts[1] not in ("global", "shared"):
            raise NotImplementedError(str(i))
        own = i.parts[1] == "shared"
        assert not (where % size).any(), f"misaligned: {i}"
        limit = self.shared if own else self.machine.memory.size
        assert where.min() >= 0 and where.max() + size <= limit, f"outside memory: {i}"
        self.machine.loaded.add(f"{i.op} {size}" + (" shared" if own else ""))

    def placed(self, i: Instruction, where: Array, size: int) -> tuple[Array, Array]:
        """Offsets, and the memory that they are in. Of memory that threads share, none may read what another writes
        without a barrier in between, nor write what another reads."""
        if i.parts[1] != "shared":
            return where, self.machine.memory
        where = where + self.block * self.shared
        threads = np.nonzero(self.mask)[0]
        for half in range(size // 2):
            cells = where[threads] // 2 + half
            assert ((self.written[cells] == threads) | (self.written[cells] == _NOBODY)).all(), f"a race: {i}"
            if i.op == "ld":
                others = (self.read[cells] != _NOBODY) & (self.read[cells] != threads)
                self.read[cells] = np.where(others, _SEVERAL, threads)
                shared = np.bincount(cells, minlength=1)[cells] > 1
                self.read[cells[shared]] = _SEVERAL
            else:
                assert ((self.read[cells] == threads) | (self.read[cells] == _NOBODY)).all(), f"a race: {i}"
                assert len(np.unique(cells)) == len(cells), f"a race: {i}"
                self.written[cells] = threads
        return where, self.room

    def do_bar(self, i: Instruction) -> None:
        """The threads wait; of a barrier that tells whether something holds for any, with what they have to say."""
        if i.parts[1] not in ("sync", "red") or (i.parts[1] == "red" and i.parts[2] != "or"):
            raise NotImplementedError(str(i))
        self.waiting |= self.mask
        if i.parts[1] == "red":
            own = self.get(i.operands[-1], "pred") if i.parts[3] == "pred" else self.get(i.operands[1], "b32") != 0
            self.votes = np.where(self.mask, own, self.votes)

    def release(self) -> None:
        """Let threads go on that wait at the same barrier as all others of their block that have not ended."""
        waiting, counter = (a.reshape(-1, self.threads) for a in (self.waiting, self.counter))
        first = np.where(waiting, counter, 0).max(axis=1)
        fine = (~waiting | (counter == first[:, None])).all(axis=1)
        assert fine.all(), "threads of a block wait at different barriers"
        self.mask = self.waiting.copy()
        self.everyone = bool(self.mask.all())
        self.waiting[:] = False
        self.written[:], self.read[:] = _NOBODY, _NOBODY
        for place in np.unique(self.counter[self.mask]):
            i = self.program.instructions[place - 1]
            if i.parts[1] == "red":
                every, here = self.mask, self.mask & (self.counter == place)
                found = np.repeat((self.votes & here).reshape(-1, self.threads).any(axis=1), self.threads)
                self.mask, self.everyone = here, bool(here.all())
                self.set(i.operands[0], found if i.parts[3] == "pred" else found.astype(np.uint32))
                self.mask = every

    do_barrier = do_bar

    def do_mov(self, i: Instruction) -> None:
        kind, (target, value) = i.parts[1], i.operands
        if target.startswith("{"):
            names = [n.strip() for n in target.strip("{}").split(",")]
            whole, size = self.get(value, kind), np.dtype(TYPES[kind]).itemsize
            parts = np.ascontiguousarray(whole).view(_RAW[size // len(names)]).reshape(self.count, len(names))
            for k, name in enumerate(names):
                self.set(name, parts[:, k])
        elif value.startswith("{"):
            names = [n.strip() for n in value.strip("{}").split(",")]
            each = f"b{np.dtype(TYPES[kind]).itemsize * 8 // len(names)}"
            parts = np.stack([self.get(n, each) for n in names], axis=1)
            self.set(target, np.ascontiguousarray(parts).view(TYPES[kind]).reshape(self.count))
        else:
            self.set(target, self.get(value, kind))

    def do_cvta(self, i: Instruction) -> None:
        self.set(i.operands[0], self.get(i.operands[1], "u64"))

    def arithmetic(self, i: Instruction, operation: Any) -> None:
        kind = i.parts[-1]
        if kind == "f16" and i.parts[-2] == "f32":  # the first operand is widened
            first = self.get(i.operands[1], "f16").astype(np.float32)
            values = [first, *(self.get(o, "f32") for o in i.operands[2:])]
        else:
            values = [self.get(o, kind) for o in i.operands[1:]]
        if kind.startswith("f") and i.op not in ("neg", "abs", "copysign"):
            assert "rn" in i.parts, f"contraction is possible: {i}"
        self.set(i.operands[0], operation(*values))

    def do_add(self, i: Instruction) -> None:
        self.arithmetic(i, np.add)

    def do_sub(self, i: Instruction) -> None:
        self.arithmetic(i, np.subtract)

    def do_div(self, i: Instruction) -> None:
        if i.parts[-1][0] == "s":
            raise NotImplementedError(str(i))
        self.arithmetic(i, np.divide if i.parts[-1][0] == "f" else np.floor_divide)

    def do_rcp(self, i: Instruction) -> None:
        self.arithmetic(i, lambda a: a.dtype.type(1) / a)

    def do_sqrt(self, i: Instruction) -> None:
        self.arithmetic(i, np.sqrt)

    def do_fma(self, i: Instruction) -> None:
        self.arithmetic(i, fma)

    def do_neg(self, i: Instruction) -> None:
        self.arithmetic(i, np.negative)

    def do_abs(self, i: Instruction) -> None:
        self.arithmetic(i, np.abs)

    def do_copysign(self, i: Instruction) -> None:  # the sign comes first
        self.arithmetic(i, lambda sign, size: np.copysign(size, sign))

    def do_mul(self, i: Instruction) -> None:
        kind = i.parts[-1]
        if kind.startswith("f"):
            self.arithmetic(i, np.multiply)
            return
        a, b = (self.get(o, kind) for o in i.operands[1:])
        if i.parts[1] == "wide":
            wide = TYPES[f"{kind[0]}{2 * int(kind[1:])}"]
            self.set(i.operands[0], a.astype(wide) * b.astype(wide))
        elif i.parts[1] == "lo":
            self.set(i.operands[0], a * b)
        else:
            raise NotImplementedError(str(i))

    def do_mad(self, i: Instruction) -> None:
        kind = i.parts[-1]
        if i.parts[1] == "lo":
            a, b, c = (self.get(o, kind) for o in i.operands[1:])
            self.set(i.operands[0], a * b + c)
        elif i.parts[1] == "wide":
            double = f"{kind[0]}{2 * int(kind[1:])}"
            a, b = (self.get(o, kind).astype(TYPES[double]) for o in i.operands[1:3])
            self.set(i.operands[0], a * b + self.get(i.operands[3], double))
        else:
            raise NotImplementedError(str(i))

    def do_and(self, i: Instruction) -> None:
        self.arithmetic(i, np.bitwise_and)

    def do_or(self, i: Instruction) -> None:
        self.arithmetic(i, np.bitwise_or)

    def do_xor(self, i: Instruction) -> None:
        self.arithmetic(i, np.bitwise_xor)

    def do_min(self, i: Instruction) -> None:
        self.ordered(i, np.minimum, np.fmin, np.signbit)

    def do_max(self, i: Instruction) -> None:
        self.ordered(i, np.maximum, np.fmax, lambda a: ~np.signbit(a))

    def ordered(self, i: Instruction, whole: Any, number: Any, first: Any) -> None:
        """Of floats, a number wins over NaN, and -0 is less than 0."""
        kind = i.parts[-1]
        if not kind.startswith("f"):
            self.arithmetic(i, whole)
            return
        if len(i.parts) != 2:
            raise NotImplementedError(str(i))
        a, b = (self.get(o, kind) for o in i.operands[1:])
        self.set(i.operands[0], np.where((a == b) & first(b), b, np.where(a == b, a, number(a, b))))

    def do_shf(self, i: Instruction) -> None:
        if i.parts[1:] not in (("l", "wrap", "b32"), ("r", "wrap", "b32")):
            raise NotImplementedError(str(i))
        low, high, count = (self.get(o, "u32").astype(np.uint64) for o in i.operands[1:])
        both, count = (high << np.uint64(32)) | low, count & np.uint64(31)
        moved = (both << count) >> np.uint64(32) if i.parts[1] == "l" else both >> count
        self.set(i.operands[0], moved.astype(np.uint32))

    def do_not(self, i: Instruction) -> None:
        self.arithmetic(i, np.invert)

    def shift(self, i: Instruction, operation: Any) -> None:
        kind = i.parts[-1]
        value, count = self.get(i.operands[1], kind), self.get(i.operands[2], "u32")
        bits = value.itemsize * 8
        moved = operation(value, np.minimum(count, bits - 1).astype(value.dtype))
        beyond = np.zeros_like(value) if kind[0] != "s" or i.op == "shl" else value >> value.dtype.type(bits - 1)
        self.set(i.operands[0], np.where(count >= bits, beyond, moved))

    def do_shl(self, i: Instruction) -> None:
        self.shift(i, np.left_shift)

    def do_shr(self, i: Instruction) -> None:
        self.shift(i, np.right_shift)

    def do_bfi(self, i: Instruction) -> None:
        kind = i.parts[-1]
        inserted, into = (self.get(o, kind) for o in i.operands[1:3])
        place, length = (int(o, 0) for o in i.operands[3:5])
        mask = _literal(str(((1 << length) - 1) << place), kind)
        self.set(i.operands[0], (into & ~mask) | ((inserted << inserted.dtype.type(place)) & mask))

    def do_prmt(self, i: Instruction) -> None:
        a, b = (self.get(o, "u32") for o in i.operands[1:3])
        selector = int(i.operands[3], 0)
        octets = np.stack([a, b], axis=1).view(np.uint8).reshape(self.count, 8)
        result = np.zeros((self.count, 4), np.uint8)
        for k in range(4):
            choice = selector >> 4 * k & 15
            octet = octets[:, choice & 7]
            result[:, k] = np.where(octet & 0x80, 0xFF, 0) if choice & 8 else octet
        self.set(i.operands[0], result.view(np.uint32).reshape(self.count))

    def do_setp(self, i: Instruction) -> None:
        if len(i.parts) != 3:
            raise NotImplementedError(str(i))
        _, relation, kind = i.parts
        a, b = (self.get(o, kind) for o in i.operands[1:])
        self.set(i.operands[0], _compared(relation, a, b))

    def do_selp(self, i: Instruction) -> None:
        a, b = (self.get(o, i.parts[-1]) for o in i.operands[1:3])
        self.set(i.operands[0], np.where(self.get(i.operands[3], "pred"), a, b))

    def do_cvt(self, i: Instruction) -> None:
        target, kind = i.parts[-2:]
        value = self.get(i.operands[1], kind)
        if target == "bf16":
            self.set(i.operands[0], _upper(value))
            return
        if "rmi" in i.parts and target == kind:
            self.set(i.operands[0], np.floor(value))
        elif "rni" in i.parts and target == kind:
            self.set(i.operands[0], np.rint(value))
        elif target[0] == "f" and (kind[0] != "f" or np.dtype(TYPES[target]).itemsize < value.itemsize):
            assert "rn" in i.parts, str(i)
            self.set(i.operands[0], value.astype(TYPES[target]))
        elif target[0] != "f" and kind[0] == "f":
            raise NotImplementedError(str(i))
        else:
            self.set(i.operands[0], value.astype(TYPES[target]))


def _upper(value: Array) -> Array:
    """float32 rounded to bfloat16; all NaN become one."""
    bits = value.view(np.uint32).astype(np.uint64)
    rounded = (bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    return np.where(np.isnan(value), np.uint64(0x7FFF), rounded).astype(np.uint16)


def _compared(relation: str, a: Array, b: Array) -> Array:
    floats = a.dtype.kind == "f"
    unordered = np.isnan(a) | np.isnan(b) if floats else np.zeros(a.shape, bool)
    if relation == "nan":
        return unordered
    if relation == "num":
        return ~unordered
    if relation in _UNORDERED:
        return np.asarray(unordered | _COMPARE[_UNORDERED[relation]](a, b))
    return np.asarray(~unordered & _COMPARE[relation](a, b))


__all__ = ["Machine", "Program", "parse"]
