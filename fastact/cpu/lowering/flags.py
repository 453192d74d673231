"""The floating-point status register of the processors that LLVM is asked to compile for."""

from __future__ import annotations

from llvmlite import ir

I32, I64, PTR = ir.IntType(32), ir.IntType(64), ir.PointerType()

VERDICTS = ("invalid", "divide", "overflow", "underflow")
"""The order in which an evidence graph returns its conditions."""

NUMPY_BITS = {"divide": 1, "overflow": 2, "underflow": 4, "invalid": 8}


def stack(b: ir.IRBuilder, kind: ir.Type, align: int | None = None) -> ir.Value:
    """Room on the stack of the function, reserved once however often the builder's block runs."""
    with b.goto_entry_block():
        room = b.alloca(kind)
    room.align = align
    room.type = PTR
    return room


class FlagRegister:
    """Reads and writes the exception flags; the base class is for processors whose register is not known."""

    type: ir.Type = I32
    places: tuple[int, ...] = (0, 0, 0, 0)
    """Bit of each of VERDICTS in the register."""
    mask = 0

    def read(self, b: ir.IRBuilder) -> ir.Value:
        return self.type(0)

    def write(self, b: ir.IRBuilder, value: ir.Value) -> None:
        return None

    def cleared(self, b: ir.IRBuilder, value: ir.Value) -> ir.Value:
        return b.and_(value, self.type(~self.mask))

    def exceptions(self, b: ir.IRBuilder, value: ir.Value) -> ir.Value:
        kept = b.and_(value, self.type(self.mask))
        return kept if self.type == I32 else b.trunc(kept, I32)

    def bits(self, *verdicts: int) -> int:
        """The places of verdicts given by their bits."""
        return sum(1 << place for bit, place in enumerate(self.places) if any(v >> bit & 1 for v in verdicts))

    def numpys(self, b: ir.IRBuilder, exceptions: ir.Value) -> ir.Value:
        """Exceptions as NumPy's bits."""
        result: ir.Value = I32(0)
        for name, place in zip(VERDICTS, self.places, strict=True):
            one = b.and_(b.lshr(exceptions, I32(place)), I32(1))
            result = b.or_(result, b.mul(one, I32(NUMPY_BITS[name])))
        return result

    def encode(self, b: ir.IRBuilder, verdict: ir.Value) -> ir.Value:
        """Verdict bits moved to their places in the register."""
        result: ir.Value = I32(0)
        for bit, place in enumerate(self.places):
            one = b.and_(b.lshr(verdict, I32(bit)), I32(1))
            result = b.or_(result, b.shl(one, I32(place)))
        return result if self.type == I32 else b.zext(result, self.type)


class Mxcsr(FlagRegister):
    """x86-64: MXCSR holds invalid in bit 0, divide in 2, overflow in 3, underflow in 4."""

    places = (0, 2, 3, 4)
    mask = 0b11101

    def cleared(self, b: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """The register as processes find it: besides, no flushing of subnormals, rounding to nearest, nothing trapped.
        Some libraries leave that otherwise; the loop puts it back when it is done."""
        return I32(0x1F80)

    def _declared(self, b: ir.IRBuilder, name: str) -> ir.Function:
        found = b.module.globals.get(name)
        return found or ir.Function(b.module, ir.FunctionType(ir.VoidType(), [PTR]), name)

    def read(self, b: ir.IRBuilder) -> ir.Value:
        room = stack(b, I32)
        b.call(self._declared(b, "llvm.x86.sse.stmxcsr"), [room])
        return b.load(room, typ=I32)

    def write(self, b: ir.IRBuilder, value: ir.Value) -> None:
        room = stack(b, I32)
        b.store(value, room)
        b.call(self._declared(b, "llvm.x86.sse.ldmxcsr"), [room])


class Fpsr(FlagRegister):
    """ARM64: FPSR holds invalid in bit 0, divide in 1, overflow in 2, underflow in 3."""

    type = I64
    places = (0, 1, 2, 3)
    mask = 0b1111

    def read(self, b: ir.IRBuilder) -> ir.Value:
        return b.asm(ir.FunctionType(I64, []), "mrs $0, fpsr", "=r", [], side_effect=True)

    def write(self, b: ir.IRBuilder, value: ir.Value) -> None:
        b.asm(ir.FunctionType(ir.VoidType(), [I64]), "msr fpsr, $0", "r", [value], side_effect=True)


def flag_register(machine: str) -> FlagRegister:
    """The register of a machine by the first part of its LLVM triple."""
    if machine in ("x86_64", "amd64"):
        return Mxcsr()
    if machine in ("aarch64", "arm64"):
        return Fpsr()
    return FlagRegister()
