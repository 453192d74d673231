"""From a declaration's formula to a tree of nodes.

A formula is a Python expression in ``x`` and the parameters' names. It may use ``+ - * / **``, comparisons, ``and``,
``or``, ``not``, ``a if c else b``, numbers, ``pi``, ``min``, ``max``, ``clip(x, low, high)``, ``where(c, a, b)`` and
exp exp2 expm1 log log2 log10 log1p sqrt tanh sinh cosh erf erfc sin cos abs.

Numbers are exact: 0.044715 means that decimal and 1/6 that fraction. ``max(a, b)`` is ``where(a > b, a, b)``,
``min(a, b)`` is ``where(a < b, a, b)``, and ``clip`` takes its limit at the limit: this decides the derivatives at
the kinks.

With ``identities`` the parser writes log(1 + u) as log1p(u), log(1/u) as -log(u), exp(u) - 1 as expm1(u), 1 + erf(u)
as erfc(-u), 1 + tanh(u) as 2/(1 + exp(-2u)), and their mirror images. They hold wherever the original is defined, so
the value is the same; they keep the sign and spare the precision where 1 swallows u. Without them, balls of tens of
thousands of bits do the same work.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from fractions import Fraction

from fastact.accuracy import formula as tree
from fastact.accuracy.balls import COMPARISONS, FUNCTIONS, ONE_PLUS_TANH, arb
from fastact.accuracy.formula import Condition, Expression, Rational

_SPECIAL = ("clip", "max", "min", "where")


class Parser:
    """Builds the tree of one formula."""

    def __init__(self, formula: str, variables: Sequence[str], identities: bool = True) -> None:
        self.formula = formula.strip()
        self.variables = tuple(variables)
        self.identities = identities
        for name in self.variables:
            if not name.isidentifier() or name in FUNCTIONS or name in _SPECIAL or name == "pi":
                raise ValueError(f"{name!r} cannot name a variable of a formula")
        if len(set(self.variables)) != len(self.variables):
            raise ValueError(f"a variable occurs twice in {self.variables}")

    def parse(self) -> Expression:
        """The tree.

        Raises:
            ValueError: syntax, an unknown name, or something outside the language.
        """
        try:
            module = ast.parse(self.formula, mode="eval")
        except SyntaxError as error:
            raise ValueError(f"formula {self.formula!r} is not an expression: {error.msg}") from error
        return self.expression(module.body)

    def fail(self, node: ast.AST, reason: str) -> ValueError:
        """The error to raise about a node."""
        text = ast.get_source_segment(self.formula, node) or ""
        return ValueError(f"formula {self.formula!r}, at {text!r}: {reason}")

    def expression(self, node: ast.expr) -> Expression:
        """A number-valued node; constants are folded."""
        result = self._expression(node)
        if result.constant or isinstance(result, tree.Variable):
            return result
        if not any(isinstance(part, ast.Name) and part.id in self.variables for part in ast.walk(node)):
            return tree.Constant(lambda: result.value(()))
        return result

    def _expression(self, node: ast.expr) -> Expression:
        match node:
            case ast.Constant(value=bool() | str() | bytes() | complex() | None):
                raise self.fail(node, "only real numbers are allowed")
            case ast.Constant():
                try:
                    return Rational(Fraction(ast.get_source_segment(self.formula, node) or ""))
                except ValueError as error:
                    raise self.fail(node, "only decimal numbers are allowed") from error
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return negative(self.expression(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.expression(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(node, op, left, right)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return tree.Choice(self.condition(test), self.expression(body), self.expression(orelse))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(node, name, arguments)
        raise self.fail(node, "not part of the formula language")

    def _name(self, node: ast.expr, name: str) -> Expression:
        if name in self.variables:
            return tree.Variable(self.variables.index(name))
        if name == "pi":
            return tree.Constant(arb.pi)
        functions = ", ".join([*FUNCTIONS, *_SPECIAL])
        raise self.fail(node, f"unknown name {name}; allowed: {', '.join(self.variables)}, pi, functions {functions}")

    def condition(self, node: ast.expr) -> Condition:
        """A truth-valued node."""
        match node:
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                names = [type(op).__name__ for op in ops]
                if not all(name in COMPARISONS for name in names):
                    raise self.fail(node, "only < <= > >= == != compare")
                operands = [self.expression(operand) for operand in [left, *comparators]]
                return tree.Comparison(operands, [COMPARISONS[name] for name in names])
            case ast.BoolOp(op=op, values=values):
                return tree.Logical([self.condition(value) for value in values], isinstance(op, ast.And))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return tree.Not(self.condition(operand))
        raise self.fail(node, "a comparison is needed here")

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr]) -> Expression:
        if name in FUNCTIONS:
            if len(arguments) != 1:
                raise self.fail(node, f"{name} takes one argument")
            stable = self._logarithm(arguments[0]) if name == "log" and self.identities else None
            if stable is not None:
                return stable
            return tree.Call(FUNCTIONS[name], self.expression(arguments[0]))
        if name in ("min", "max"):
            if len(arguments) < 2:
                raise self.fail(node, f"{name} takes two arguments or more")
            result = self.expression(arguments[0])
            for argument in arguments[1:]:
                result = tree.Extremum(result, self.expression(argument), name == "max")
            return result
        if name in ("clip", "where"):
            if len(arguments) != 3:
                raise self.fail(node, f"{name} takes three arguments")
            if name == "where":
                return tree.Choice(
                    self.condition(arguments[0]), self.expression(arguments[1]), self.expression(arguments[2])
                )
            value, low, high = (self.expression(argument) for argument in arguments)
            return tree.Extremum(tree.Extremum(value, low, True), high, False)
        self._name(node, name)
        raise self.fail(node, f"{name} is not a function")

    def _logarithm(self, node: ast.expr) -> Expression | None:
        """log of an expression that reads 1/u, 1 + u, u + 1 or 1 - u, else None."""
        match node:
            case ast.BinOp(left=left, op=ast.Div(), right=right) if self._is_one(left):
                return negative(self._logarithm(right) or tree.Call(FUNCTIONS["log"], self.expression(right)))
            case ast.BinOp(left=left, op=ast.Add(), right=right) if self._is_one(left):
                return tree.Call(FUNCTIONS["log1p"], self.expression(right))
            case ast.BinOp(left=left, op=ast.Add(), right=right) if self._is_one(right):
                return tree.Call(FUNCTIONS["log1p"], self.expression(left))
            case ast.BinOp(left=left, op=ast.Sub(), right=right) if self._is_one(left):
                return tree.Call(FUNCTIONS["log1p"], negative(self.expression(right)))
        return None

    @staticmethod
    def _is_one(node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) and node.value == 1

    def _binary(self, node: ast.expr, op: ast.operator, left: ast.expr, right: ast.expr) -> Expression:
        if self.identities and isinstance(op, ast.Add | ast.Sub):
            stable = self._without_cancellation(left, right, isinstance(op, ast.Sub))
            if stable is not None:
                return stable
        a, b = self.expression(left), self.expression(right)
        match op:
            case ast.Add():
                if isinstance(a, Rational) and isinstance(b, Rational):
                    return Rational(a.fraction + b.fraction)
                return tree.Sum(a, b)
            case ast.Sub():
                if isinstance(a, Rational) and isinstance(b, Rational):
                    return Rational(a.fraction - b.fraction)
                return tree.Difference(a, b)
            case ast.Mult():
                return product(a, b)
            case ast.Div():
                if isinstance(b, Rational):
                    if b.fraction == 0:
                        raise self.fail(node, "division by zero")
                    return product(a, Rational(1 / b.fraction))
                return tree.Quotient(a, b)
            case ast.Pow():
                return self._power(node, a, b)
        raise self.fail(node, "only + - * / ** are allowed")

    def _power(self, node: ast.expr, a: Expression, b: Expression) -> Expression:
        if isinstance(a, Rational) and isinstance(b, Rational) and b.fraction.denominator == 1:
            if abs(b.fraction) > 4096 or (a.fraction == 0 and b.fraction < 0):
                raise self.fail(node, "not a sensible power")
            return Rational(a.fraction ** int(b.fraction))
        if isinstance(b, Rational) and b.fraction == Fraction(1, 2):
            return tree.Call(FUNCTIONS["sqrt"], a)
        return tree.Power(a, b)

    def _without_cancellation(self, left: ast.expr, right: ast.expr, minus: bool) -> Expression | None:
        """1 + f(u), 1 - f(u), f(u) + 1 or f(u) - 1 for f of exp, erf and tanh, where an identity helps; else None."""
        if self._is_one(left):
            call = right
        elif self._is_one(right):
            call = left
        else:
            return None
        match call:
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in ("exp", "erf", "tanh"):
                if name == "exp" and not minus:
                    return None
                u = self.expression(argument)
            case _:
                return None
        result = one_minus(name, u) if minus else one_minus(name, negative(u))  # erf and tanh are odd
        return negative(result) if minus and call is left else result


def one_minus(name: str, u: Expression) -> Expression:
    """1 - f(u) for f of exp, erf and tanh."""
    if name == "exp":
        return negative(tree.Call(FUNCTIONS["expm1"], u))
    if name == "erf":
        return tree.Call(FUNCTIONS["erfc"], u)
    return tree.Call(ONE_PLUS_TANH, negative(u))


def negative(operand: Expression) -> Expression:
    """-a, folded."""
    if isinstance(operand, tree.Negative):
        return operand.operand
    return Rational(-operand.fraction) if isinstance(operand, Rational) else tree.Negative(operand)


def product(a: Expression, b: Expression) -> Expression:
    """a b, folded; a factor that is no binary fraction multiplies by its numerator and divides by its denominator."""
    if isinstance(a, Rational) and isinstance(b, Rational):
        return Rational(a.fraction * b.fraction)
    if isinstance(a, Rational):
        a, b = b, a
    if isinstance(b, Rational) and b.exact is None:
        return tree.Scaled(a, b.fraction)
    return tree.Product(a, b)
