"""The least time that a kernel can take on this processor: what its bytes and what its instructions cost at best.

The instructions are those of the compiled loop, read from its assembly (`hot_loop`). What one costs is measured
(`Rates`): loops of independent instructions of its kind, alone, and in equal shares with multiplications and with
additions, which tells on whose pipes it runs. Nothing is taken from tables of one maker's processors. The floor of a
loop is the largest of these sums, each of which no order of the instructions can beat:

- all instructions, at the rate at which the front end delivers the quickest mixture;
- vector instructions, those included that only name a register anew, at the rate of these;
- vector arithmetic of any kind, at the rate of the best mixture;
- what runs on the pipes of multiplications (of additions) only, each at its own rate;
- divisions and roots; loads; stores; each single kind of instruction.

Latencies are not in it: with enough independent elements they can be hidden. Costs are in clock cycles, told by a chain
of additions without carry, of which each takes one; so they hold whatever the clock does (`Clock` tells that).
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

import llvmlite.binding as llvm
import numpy as np

DESTINATIONS = 13
"""Registers that independent instructions write in turns; sources are the three above."""
STREAM = 8 * DESTINATIONS
"""Instructions of a measured stream."""
PASSES = 1500
"""Passes through a stream in one reading."""
READINGS = 15
ATTEMPTS = 4
"""Measurements of all streams, of so many readings each."""
CONFLICT = 1.75
"""Two streams of equal time that together take more than so many times as long share all their pipes."""
CHAIN = ["xorq %rcx, %rax"] * STREAM
"""Each waits for the one before, and takes a cycle."""
MULTIPLY, ADD = "vmulps", "vaddps"
"""Whose pipes others are compared with."""

BOUNDS = (
    "front end", "renaming", "vector pipes", "multiply pipes", "add pipes", "divider", "loads", "stores", "one kind",
)  # fmt: skip
"""What can bound a loop besides memory."""

_REGISTER = re.compile(r"%(zmm|ymm|xmm)(\d+)")
_alive: list[object] = []
"""Compiled streams; they live as long as what holds them."""
_LABEL = re.compile(r"^([.\w$]+):")


# -- from assembly to instructions ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Instruction:
    """A mnemonic with its operands in AT&T order, the destination last."""

    mnemonic: str
    operands: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What decides the cost: the mnemonic and the kinds of its operands."""
        return " ".join((self.mnemonic, *(_kind_of(operand) for operand in self.operands)))

    @property
    def vector(self) -> bool:
        """Whether it computes on vectors or masks."""
        return self.mnemonic[0] in "vk" and self.mnemonic != "vzeroupper"

    @property
    def loads(self) -> bool:
        return any("(" in operand for operand in self.operands[:-1]) or (
            len(self.operands) == 1 and "(" in self.operands[0]
        )

    @property
    def stores(self) -> bool:
        return len(self.operands) > 1 and "(" in self.operands[-1] and self.mnemonic not in ("cmpq", "testq", "cmpl")

    @property
    def moves(self) -> bool:
        """Whether it only moves a register, sets one to zero, loads or stores."""
        carries = self.mnemonic.startswith(("vmov", "vbroadcast", "vpbroadcast", "kmov")) and "{" not in self.kind
        return carries or self.clears

    @property
    def clears(self) -> bool:
        """Whether it makes zero of a register and itself, for which no pipe is needed."""
        made = self.mnemonic.startswith(("vxor", "vpxor", "kxor", "kandn", "vpandn", "vandn"))
        return made and len(self.operands) == 3 and self.operands[0] == self.operands[1]

    @property
    def spilled(self) -> bool:
        """Whether it reads or writes the stack: what has no register."""
        return any("%rsp" in operand or "%rbp" in operand for operand in self.operands)

    @property
    def divides(self) -> bool:
        return self.mnemonic.startswith(("vdiv", "vsqrt"))


def _kind_of(operand: str) -> str:
    masked = "{k}" if "{%k" in operand else ""
    if "(" in operand:
        return ("mem{1toN}" if "{1to" in operand else "mem") + masked
    if operand.startswith("$"):
        return "imm"
    found = _REGISTER.match(operand)
    if found:
        return found[1] + masked
    return "k" + masked if operand.startswith("%k") else "gpr"


def parse(line: str) -> Instruction | None:
    """The instruction of a line of assembly; None of labels, directives and comments."""
    text = line.partition("#")[0].strip()
    if not text or text.startswith(".") or _LABEL.match(text):
        return None
    mnemonic, _, rest = text.partition("\t") if "\t" in text else text.partition(" ")
    operands = tuple(part.strip() for part in re.split(r",(?![^()]*\))", rest)) if rest.strip() else ()
    return Instruction(mnemonic, operands)


def hot_loop(assembly: str, function: str = "body") -> list[Instruction]:
    """The instructions of one pass through the first loop of a function, detours left out.

    Rare detours are jumps forward that are not taken: the compiler places what is rare behind what is not. Jumps
    backward are taken.

    Raises:
        ValueError: there is no such function, or no loop in it.
    """
    lines = assembly.splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith(f"{function}:")]
    if not starts:
        raise ValueError(f"no function {function} in the assembly")
    labels: dict[str, int] = {}
    for place in range(starts[0], len(lines)):
        found = _LABEL.match(lines[place])
        if found:
            labels.setdefault(found[1], place)
            if found[1].startswith((".Lfunc_end", "Lfunc_end")):
                break
    path: list[Instruction] = []
    visited: dict[int, int] = {}
    place = starts[0]
    while place < len(lines):
        if place in visited:
            return path[visited[place] :]
        visited[place] = len(path)
        instruction = parse(lines[place])
        place += 1
        if instruction is None:
            continue
        path.append(instruction)
        if instruction.mnemonic.startswith("ret"):
            break
        if instruction.mnemonic.startswith("j"):
            target = labels.get(instruction.operands[0])
            if target is not None and (instruction.mnemonic == "jmp" or target < place):
                place = target
    raise ValueError(f"no loop in {function}")


# -- what instructions cost -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Cost:
    """Cycles per instruction in a stream of its kind, and whether it needs the pipes of others."""

    cycles: float
    multiplies: bool = False
    adds: bool = False


@dataclass
class Rates:
    """The costs of kinds of instructions on this processor."""

    costs: dict[str, Cost]
    front: float
    """Cycles per instruction of any kind that the front end needs at least."""
    renaming: float
    """Cycles per vector instruction, register moves among them, until it waits for a pipe."""
    pipe: float
    """Cycles per vector instruction of the best mixture."""

    def floors(self, loop: Iterable[Instruction]) -> dict[str, float]:
        """Cycles that one pass through the loop takes at least, by what bounds it."""
        loop = list(loop)
        counts = Counter(instruction.kind for instruction in loop)
        example = {instruction.kind: instruction for instruction in loop}
        found = dict.fromkeys(BOUNDS, 0.0)
        found["front end"] = len(loop) * self.front
        for kind, count in counts.items():
            one, cost = example[kind], self.costs.get(kind)
            if one.loads:
                found["loads"] += count * self._of("load")
            if one.stores:
                found["stores"] += count * self._of("store")
            if not one.vector:
                continue
            found["renaming"] += count * self.renaming
            if one.moves or cost is None:
                continue
            found["vector pipes"] += count * self.pipe
            found["one kind"] = max(found["one kind"], count * cost.cycles)
            if one.divides:
                found["divider"] += count * cost.cycles
            if cost.multiplies:
                found["multiply pipes"] += count * cost.cycles
            if cost.adds:
                found["add pipes"] += count * cost.cycles
        return found

    def _of(self, what: str) -> float:
        cost = self.costs.get(what)
        return cost.cycles if cost else 0.0


def _renamed(instruction: Instruction, turn: int) -> str:
    """The instruction with registers of its own and memory in the buffer, for one place in a stream."""
    last = len(instruction.operands) - 1
    sources, masks = iter((13, 14, 15)), iter((1, 7))  # two different ones: of one and the same nothing is computed
    operands = []
    for place, operand in enumerate(instruction.operands):
        if "(" in operand:
            decoration = "".join(re.findall(r"\{[^}]*\}", operand)).replace("%k0", "%k1")
            mask = re.sub(r"%k\d", "%k1", decoration)
            operands.append(f"{64 * (turn % 16)}($0){mask}")
            continue
        if operand.startswith("$"):
            operands.append("$" + operand)
            continue
        found = _REGISTER.match(operand)
        if found:
            number = turn % DESTINATIONS if place == last else next(sources)
            operands.append(f"%{found[1]}{number}" + re.sub(r"%k\d", "%k1", operand[found.end() :]))
        elif operand.startswith("%k"):
            operands.append(f"%k{2 + turn % 5}" if place == last and last else f"%k{next(masks)}")
        else:
            operands.append("%eax" if re.fullmatch(r"%(e\w+|r\d+d)", operand) else "%rax")
    return f"{instruction.mnemonic} {', '.join(operands)}"


def _mixed(a: Instruction, b: Instruction, share: float) -> tuple[list[str], float]:
    """A stream of both, evenly spread, of which about a part ``share`` is b, and what part that is."""
    stream, due, count = [], 0.0, 0
    for turn in range(STREAM):
        due += share
        if due >= 1.0 - 1e-9:
            due, count = due - 1.0, count + 1
            stream.append(_renamed(b, turn))
        else:
            stream.append(_renamed(a, turn))
    return stream, count / STREAM


def _function(name: str, stream: Sequence[str], wide: bool) -> str:
    """A function of (buffer, passes) that runs the stream over and over."""
    registers = 32 if wide else 16
    clobbered = [f"~{{xmm{n}}}" for n in range(registers)] + [f"~{{k{n}}}" for n in range(1, 8) if wide]
    clobbered += ["~{rax}", "~{rcx}", "~{memory}", "~{dirflag}", "~{fpsr}", "~{flags}"]
    text = "\\0A".join(stream)
    return (
        f"define void @{name}(ptr %buffer, i64 %passes) {{\nentry:\n  br label %loop\nloop:\n"
        f"  %k = phi i64 [ %passes, %entry ], [ %next, %loop ]\n"
        f'  call void asm sideeffect "{text}", "r,{",".join(clobbered)}"(ptr %buffer)\n'
        f"  %next = sub i64 %k, 1\n  %more = icmp ne i64 %next, 0\n  br i1 %more, label %loop, label %end\n"
        f"end:\n  ret void\n}}\n"
    )


def _filled(wide: bool) -> list[str]:
    """Instructions that fill all registers with ordinary numbers."""
    kind = "zmm" if wide else "ymm"
    lines = [f"vbroadcastss 0($0), %{kind}{n}" for n in range(16)]
    return [*lines, "kxnorw %k1, %k1, %k1", "kshiftrw $$1, %k1, %k7"] if wide else lines


def _compiled(streams: dict[str, Sequence[str]], wide: bool) -> dict[str, Callable[[int, int], None]]:
    """The streams as functions of the buffer's address and the number of passes."""
    from fastact.cpu.compile import target_machine
    from fastact.cpu.target import host

    names = {f"stream{place}": label for place, label in enumerate(streams)}
    module = llvm.parse_assembly("".join(_function(name, streams[label], wide) for name, label in names.items()))
    module.triple = host().triple
    engine = llvm.create_mcjit_compiler(module, target_machine(host()))
    engine.finalize_object()
    _alive.append(engine)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    return {label: kind(engine.get_function_address(name)) for name, label in names.items()}


def timed(streams: dict[str, Sequence[str]]) -> dict[str, float]:
    """Cycles per instruction of each stream, the best of readings taken in turns."""
    wide = any("zmm" in line for stream in streams.values() for line in stream)
    calls = _compiled({**streams, "fill": _filled(wide), "clock": CHAIN}, wide)
    fill = calls.pop("fill")
    room = np.full(1024, 1.7, np.float32)
    start = -room.ctypes.data % 64 + room.ctypes.data
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(READINGS):
        for label, call in calls.items():
            room.fill(1.7)  # streams that store have left other things, and divisions take longer with some numbers
            fill(start, 1)
            call(start, PASSES // 10)
            before = perf_counter()
            call(start, PASSES)
            best[label] = min(best[label], perf_counter() - before)
    cycle = best.pop("clock") / len(CHAIN)
    return {label: seconds / (cycle * len(streams[label])) for label, seconds in best.items()}


class Clock:
    """A call that takes ``cycles`` cycles, to be timed beside others."""

    cycles = 400_000

    def __init__(self) -> None:
        self._call = _compiled({"clock": CHAIN}, False)["clock"]

    def __call__(self) -> None:
        self._call(0, self.cycles // len(CHAIN))


def measure(loops: Iterable[Iterable[Instruction]]) -> Rates:
    """The costs of all kinds of instructions that the loops have."""
    known = {instruction.kind: instruction for loop in loops for instruction in loop if instruction.vector}
    wide = any("zmm" in kind for kind in known)
    register = "zmm" if wide else "ymm"
    multiply, add = (Instruction(m, (f"%{register}1", f"%{register}2", f"%{register}3")) for m in (MULTIPLY, ADD))
    load = Instruction("vmovups", ("(%rdi)", f"%{register}1"))
    store = Instruction("vmovups", (f"%{register}1", "(%rdi)"))
    move = Instruction("vmovaps", (f"%{register}1", f"%{register}2"))
    references = {"multiply": multiply, "add": add, "load": load, "store": store, "move": move}
    streams = {key: [_renamed(one, t) for t in range(STREAM)] for key, one in {**references, **known}.items()}
    four = (multiply, move, add, None)
    alone = timed(
        {**streams, "any": [_renamed(one, t) if one else "nop" for t, one in enumerate(four * (STREAM // 4))]}
    )
    mixtures, shares = {"best": _mixed(multiply, add, 0.5)[0]}, {}
    for kind, one in known.items():
        for other, reference in (("multiply", multiply), ("add", add)):
            label = f"{kind} and {other}"
            share = alone[kind] / (alone[kind] + alone[other])  # such that both would take equally long
            mixtures[label], shares[label] = _mixed(one, reference, share)
    together = _least(mixtures)
    costs = {"load": Cost(alone["load"]), "store": Cost(alone["store"])}
    for kind in known:
        conflicts = []
        for other in ("multiply", "add"):
            label = f"{kind} and {other}"
            conflicts.append(_conflict(together[label], shares[label], alone[kind], alone[other]) > CONFLICT)
        # nothing needs all pipes of both: something else slowed the mixtures down
        costs[kind] = Cost(alone[kind]) if all(conflicts) else Cost(alone[kind], *conflicts)
    arithmetic = [alone[kind] for kind, one in known.items() if not one.moves]
    pipe = min([together["best"], alone["multiply"], alone["add"], *arithmetic])
    return Rates(costs, min(alone.values()), min(alone["move"], pipe), pipe)


def _least(streams: dict[str, Sequence[str]]) -> dict[str, float]:
    """Cycles per instruction of each stream, the least of measurements some time apart: disturbances only add."""
    attempts = [timed(streams) for _ in range(ATTEMPTS)]
    return {label: min(attempt[label] for attempt in attempts) for label in streams}


def _conflict(mixed: float, share: float, one: float, other: float) -> float:
    """How many times as long a mixture takes as the longer of its parts would alone: 1 without a conflict, 2 with."""
    parts = ((1.0 - share) * one, share * other)
    return 1.0 + max(0.0, (mixed - max(parts)) / min(parts)) if min(parts) > 0 else 1.0
