"""Certificates made: kernels against the truth, exhaustively where the dtype allows.

float16 and bfloat16: ball arithmetic on all inputs. float32: an audit of all inputs against double-double arithmetic,
whose error is checked on a sample, and ball arithmetic for what the audit leaves open. float64: such an audit of many
random inputs, and ball arithmetic for a sample, for the inputs with the largest errors and, of ``exact``, for inputs
that are hard to round.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy import hard, lemmas
from fastact.accuracy.audit import BOUND, Audit, reference, with_constants
from fastact.accuracy.case import Case, differ
from fastact.accuracy.certificates import Certificate, Key, NearRoot, digest, pattern
from fastact.accuracy.contract import bound
from fastact.accuracy.samples import every
from fastact.accuracy.sweep import AllFloat32, Outcome, Progress, SampledFloat64, Source, Sweep, Tally, inputs_of
from fastact.accuracy.ulp import Doubles, Floats, ulp
from fastact.kernels import Declaration

CHECKED = 20_000
"""Inputs on which the double-double evaluation itself, and the kernels, are checked by ball arithmetic."""


class Mistrust(RuntimeError):
    """The method itself cannot be trusted: the double-double evaluation is wrong where it should not be."""


@dataclass
class Effort:
    """How much is done, and where."""

    jobs: int = 2
    samples: int = 10**8
    """float64 inputs of the audit."""
    checked: int = CHECKED
    runs: int = hard.RUNS
    """Runs of float64 inputs in which hard ones are searched for."""
    seed: int = 0
    folder: Path | None = None
    """Where checkpoints are kept; None keeps none."""
    say: Callable[[str], None] = field(default=lambda text: None)
    progress: Progress | None = None
    part: tuple[int, int] = (0, 256)
    """The units of the float32 sweep to be done; all for a certificate."""

    def still(self) -> None:
        """Say that work goes on, of which the progress is not counted; it may be the time to stop."""
        if self.progress is not None:
            self.progress(1, 1)


def certify(declaration: Declaration, form: str, dtype: str, tiers: Sequence[str], effort: Effort) -> list[Certificate]:
    """The certificates of some tiers of a form.

    Raises:
        Mistrust: the method cannot be applied.
    """
    case = Case(declaration, form, dtype, effort.jobs)
    if dtype in ("float16", "bfloat16"):
        return _exhaustive(case, tiers)
    return _audited(case, tiers, effort)


def _certificate(case: Case, tier: str, **facts: Any) -> Certificate:
    key = Key(case.declaration.name, case.form, case.dtype, tier)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Certificate(
        **key._asdict(),
        parameters=case.parameters,
        unit=bound(case.declaration, case.form, case.dtype, tier).unit,
        date=today,
        digest=digest(key),
        **facts,
    )


def _exhaustive(case: Case, tiers: Sequence[str]) -> list[Certificate]:
    x = every(case.dtype)
    truth = case.rounded(x)
    found = []
    for tier in tiers:
        y = case.results(tier, x)
        errors = case.errors(tier, y, x, truth=truth)
        misrounded = int(np.count_nonzero(differ(y, case.expected(y, x, truth=truth))))
        found.append(
            _certificate(
                case, tier, inputs=x.size, exhaustive=True, misrounded=misrounded,
                mean=float(errors.mean()), method="ball arithmetic on every input", **_largest(case, tier, errors, x),
            )
        )  # fmt: skip
    return found


def _largest(case: Case, tier: str, errors: Doubles, x: Floats) -> dict[str, Any]:
    """The largest errors and their witnesses, those next to roots apart where the tier counts them differently."""
    found, left = [], np.ones(x.shape, dtype=np.bool_)
    for floor in case.floors if tier == "rough" else ():
        inside = floor.holds(x)
        worst = int(np.where(inside, errors, -1.0).argmax())
        left &= ~inside
        found.append(NearRoot(floor.low, floor.high, floor.terms, float(errors[worst]), pattern(x[worst], case.dtype)))
    worst = int(np.where(left, errors, -1.0).argmax())
    return {"largest": float(errors[worst]), "witness": pattern(x[worst], case.dtype), "near_roots": tuple(found)}


# -- audits -----------------------------------------------------------------------------------------------------------
def evaluation_error(case: Case, x: Floats) -> tuple[float, float]:
    """The largest error of the double-double evaluation on a sample: relative, and in ULPs of the dtype."""
    graph = reference(case.declaration, case.form, case.dtype)
    hi, lo, n = np.empty(x.size), np.empty(x.size), np.empty(x.size, dtype=np.int64)
    with_constants(graph, case.parameters)(x, hi, lo, n)
    high, low = case.oracle.pair(x, *case.parameters, wrt=case.wrt, bits=105)
    with np.errstate(all="ignore"):
        shift = np.clip(n, -2200, 2200).astype(np.int64)
        hi, lo = _times_power(hi, shift), _times_power(lo, shift)
        # Where the truth leaves [2^-900, 2^900] the low part of what is compared is not held any more.
        comparable = np.isfinite(high) & (np.abs(high) > 2.0**-900) & (np.abs(high) < 2.0**1000)
        difference = np.abs((hi - high) + (lo - low))
        relative = np.where(comparable, difference / np.abs(high), 0.0)
        in_ulp = np.where(comparable, difference / ulp(high, case.dtype), 0.0)
        # Where the evaluation is NaN the audit leaves the result open; elsewhere it has to make sense.
        low_end, high_end = case.declaration.domain
        odd = np.isnan(high) & ~np.isnan(hi) & np.isfinite(x) & (x >= low_end) & (x <= high_end)
        odd |= (high == 0) & (np.abs(hi) > 2.0**-800)
    if odd.any():
        raise Mistrust(f"the double-double evaluation gives {hi[odd][0]!r} at {x[odd][0]!r}, not {high[odd][0]!r}")
    return float(np.nanmax(relative)), float(np.nanmax(in_ulp))


def _times_power(value: Doubles, exponent: NDArray[np.int64]) -> Doubles:
    half = exponent // 2
    return np.asarray(np.ldexp(np.ldexp(value, half), exponent - half))


def _audited(case: Case, tiers: Sequence[str], effort: Effort) -> list[Certificate]:
    x = case.sample(effort.checked, effort.seed + 1)
    relative, in_ulp = evaluation_error(case, x)
    if case.dtype == "float32" and relative > BOUND / 32:
        raise Mistrust(f"the double-double evaluation is wrong by 2^{np.log2(relative):.1f}; 2^-40 was assumed")
    audit = Audit(case.declaration, case.form, case.dtype, tiers, case.floors)
    source: Source
    resolver = None
    if case.dtype == "float32":
        source = AllFloat32(*effort.part)
        signs = lemmas.halving(case.oracle, case.wrt, case.parameters)
        resolver = None if signs is None else functools.partial(lemmas.halved, signs)
    else:
        declaration = case.declaration
        source = SampledFloat64(effort.samples, effort.seed, declaration.critical, declaration.domain)
    checkpoint = None
    if effort.folder is not None:
        name = "-".join((case.declaration.name, case.form, case.dtype, *tiers))
        checkpoint = effort.folder / f"{name}.json"
    sweep = Sweep(audit, source, case.floors, resolver, checkpoint, effort.say)
    outcomes = sweep.run(effort.jobs, effort.progress)
    difficult = hard.search(case, effort.seed, effort.runs, effort.still) if case.dtype == "float64" else None
    truth = case.rounded(x)
    found = []
    for tier, outcome in outcomes.items():
        judged = _Judged(case, tier, audit, outcome)
        judged.sample(x, truth)
        if tier == "exact" and difficult is not None:
            judged.hard(difficult)
        found.append(judged.certificate(source, len(x), relative, in_ulp))
    sweep.forget()
    return found


class _Judged:
    """The outcome of a sweep in one tier, joined with what ball arithmetic says about the inputs left open, the
    inputs with the largest errors and a sample.

    The mean error of float64 is that of the sample, of float32 that of all inputs."""

    def __init__(self, case: Case, tier: str, audit: Audit, outcome: Outcome) -> None:
        self.case, self.tier, self.audit, self.outcome = case, tier, audit, outcome
        self.misrounded = outcome.wrong
        self.difficult = ""
        self.open = np.concatenate([inputs_of([], case.dtype), *outcome.open])
        if case.dtype == "float64":
            self._suspect()
        self._settle()
        self._confirm()

    def _suspect(self) -> None:
        """Of float64 the audit only tells where errors are large: how large they are, ball arithmetic says."""
        regions = self.outcome.regions
        bits = {*self.outcome.suspects, *(region.witness for region in regions if region.count)}
        for region in regions:
            region.largest = -1.0
        x = inputs_of(sorted(bits), self.case.dtype)
        self._add(self.case.errors(self.tier, self.audit.results(self.tier, x), x), x)

    def _settle(self) -> None:
        if self.outcome.wrong_bits:
            x = inputs_of(self.outcome.wrong_bits, self.case.dtype)
            self._add(self.case.errors(self.tier, self.audit.results(self.tier, x), x), x)
        if self.outcome.open_count > len(self.open):
            self._add(np.array([np.inf]), self.open[:1])
            self.misrounded += self.outcome.open_count - len(self.open)
            self.open = self.open[:1024]
        if self.open.size:
            x, y = self.open, self.audit.results(self.tier, self.open)
            truth = self.case.expected(y, x)
            wrong = differ(y, truth)
            self.misrounded += int(np.count_nonzero(wrong))
            if self.tier == "exact":  # the others are rightly rounded
                x, y, truth = x[wrong], y[wrong], truth[wrong]
            if x.size:
                self._add(self.case.errors(self.tier, y, x, truth=truth), x)

    def _confirm(self) -> None:
        """The largest errors once more, by ball arithmetic."""
        for region in self.outcome.regions:
            if region.count and np.isfinite(region.largest):
                x = inputs_of([region.witness], self.case.dtype)
                again = float(self.case.errors(self.tier, self.audit.results(self.tier, x), x)[0])
                noise = 1e-12 if self.tier == "rough" else 1e-6  # what Oracle.relative_error and ulp_error leave open
                if abs(again - region.largest) > noise + 1e-3 * max(again, region.largest):
                    raise Mistrust(f"audit and ball arithmetic disagree at {x[0]!r}: {region.largest} and {again}")

    def sample(self, x: Floats, truth: Floats) -> None:
        """Judge a sample by ball arithmetic."""
        y = self.audit.results(self.tier, x)
        if self.tier == "exact":
            wrong = differ(y, self.case.expected(y, x, truth=truth))
            if self.case.dtype == "float32" and np.setdiff1d(x[wrong], self.open).size and self.misrounded == 0:
                raise Mistrust(f"the audit took the result at {x[wrong][0]!r} for rightly rounded")
        errors = self.case.errors(self.tier, y, x, truth=truth)
        self._add(errors, x)
        self.mean = float(errors.mean())

    def hard(self, found: hard.Hard) -> None:
        """Judge the inputs that are hard to round by ball arithmetic."""
        searched = f"{found.found} within 2^-62 of a rounding boundary found among {found.stepped} stepped over"
        self.difficult = f"; {searched}"
        if found.x.size:
            errors = self.case.errors(self.tier, self.audit.results(self.tier, found.x), found.x)
            self._add(errors, found.x)
            finite = errors[np.isfinite(errors)]
            reach = float(np.abs(finite - np.floor(finite) - 0.5).max(initial=0.0))
            near = f"within 2^{np.log2(reach):.1f} ULP of it" if reach else "on it"
            wrong = int(np.count_nonzero(errors > 0.5))
            self.difficult = (
                f"; and on the {found.x.size} hardest of the {searched}, {near}, {wrong} of them misrounded"
            )

    def _add(self, errors: Doubles, x: Floats) -> None:
        """Let errors count if they are larger than those known."""
        for region, inside in self._regions(x):
            if inside.any():
                found = Tally()
                found.add(errors[inside], x[inside])
                if found.largest > region.largest or not region.count:
                    region.largest, region.witness = found.largest, found.witness

    def _regions(self, x: Floats) -> list[tuple[Tally, NDArray[np.bool_]]]:
        near = [floor.holds(x) for floor in self.case.floors]
        elsewhere = ~np.any(near, axis=0) if near else np.ones(x.shape, dtype=np.bool_)
        return list(zip(self.outcome.regions, [elsewhere, *near], strict=True))

    def certificate(self, source: Source, checked: int, relative: float, in_ulp: float) -> Certificate:
        """What has been found."""
        case, tier = self.case, self.tier
        region, *near = self.outcome.regions
        count = sum(r.count for r in self.outcome.regions)
        misrounded, mean = None, self.mean
        if case.dtype == "float32":
            mean = sum(r.total for r in self.outcome.regions) / count
            if tier != "rough":
                beyond = 0 if tier == "exact" else sum(r.beyond_half for r in self.outcome.regions)
                misrounded = self.misrounded + beyond
        width = case.format.width // 4
        roots = tuple(
            NearRoot(floor.low, floor.high, floor.terms, tally.largest, f"0x{tally.witness:0{width}x}")
            for floor, tally in zip(case.floors, near, strict=True)
        )
        return _certificate(
            case, tier, inputs=count, exhaustive=source.exhaustive, misrounded=misrounded, largest=region.largest,
            witness=f"0x{region.witness:0{width}x}", mean=mean,
            near_roots=roots, method=self._method(source, checked, relative, in_ulp),
        )  # fmt: skip

    def _method(self, source: Source, checked: int, relative: float, in_ulp: float) -> str:
        power = f"2^{np.log2(relative):.1f}" if relative else "0"
        if self.case.dtype == "float32":
            settled = f", {self.outcome.settled} by the sign of f(x) - x/2" if self.outcome.settled else ""
            return (
                f"double-double, trusted to 2^-40, wrong by at most {power} on {checked} inputs; "
                f"{self.outcome.open_count} inputs settled by ball arithmetic{settled}"
            )
        suspects = len(self.outcome.suspects)
        return (
            f"ball arithmetic on {checked} inputs and on the {suspects} most suspect of {source.total} audited against "
            f"double-double, itself wrong by at most {in_ulp:.2g} ULP on the former{self.difficult}"
        )
