"""Measure the accuracy of the kernels and write the certificates.

    python scripts/certify.py mish silu --dtype float32 --tier exact
    python scripts/certify.py --stale --minutes 60
    python scripts/certify.py xielu --kind sampled

Certificates are of functions of one number: values and gradients, with parameters at their defaults. Forms of several
arguments are measured on samples (``sampled.json``): --kind and --form choose among both.

Interrupt it at any time: finished certificates are kept, and the sweep in progress goes on from its checkpoint the
next time. The exit status is 1 if a certificate breaks the contract, 2 for a mistake in the arguments.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

try:
    from fastact.accuracy import certificates, prover, sampled, sampling
except ImportError as error:
    sys.exit(f"certify: {error}")
from fastact.accuracy.certificates import Certificate, Key
from fastact.accuracy.sampled import Sampled
from fastact.cli.arguments import Parser, Problem, choices, declaration
from fastact.cli.output import Progress, progress
from fastact.cpu import cache
from fastact.kernels import REGISTRY
from fastact.link.arithmetic import DTYPES, TIERS

KINDS = ("proved", "sampled")


class OutOfTime(Exception):
    """The minutes granted are over."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="certify.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help="functions; by default all")
    parser.add_argument("--dtype", help=f"of {','.join(DTYPES)}; by default all")
    parser.add_argument("--tier", help=f"of {','.join(TIERS)}; by default all")
    parser.add_argument("--form", help="of value,grad,grad_PARAMETER,backward,from_output,...; by default all")
    parser.add_argument("--kind", help=f"of {','.join(KINDS)}; by default both")
    parser.add_argument("--stale", action="store_true", help="only what is missing or about another kernel")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many minutes")
    parser.add_argument("--jobs", type=int, default=2, help="threads (default 2)")
    parser.add_argument("--samples", type=float, default=1e8, help="float64 inputs per function (default 1e8)")
    parser.add_argument("--checked", type=int, default=prover.CHECKED, help="inputs judged by ball arithmetic")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=certificates.PATH, help="file of certificates")
    parser.add_argument("--sampled", type=Path, help="file of what samples give; by default that beside the former")
    parser.add_argument("--checkpoints", type=Path, default=cache.folder() / "certify", help="folder of checkpoints")
    parser.add_argument("--list", action="store_true", help="only list what would be done")
    return parser.parse_args(arguments)


def chosen(
    options: argparse.Namespace, known: dict[Key, Certificate], measured: dict[Key, Sampled]
) -> tuple[list[Key], list[Key]]:
    """The kernels asked for, in the order in which they are to be certified, and those to be measured on samples."""
    names = [declaration(name).name for name in options.names] or list(REGISTRY)
    dtypes = choices(options.dtype, DTYPES, "dtype")
    tiers = choices(options.tier, TIERS, "tier")
    kinds = choices(options.kind, KINDS, "kind")
    proofs = certificates.required() if "proved" in kinds else []
    samples = sampled.required() if "sampled" in kinds else []
    forms = choices(options.form, list(dict.fromkeys(k.form for k in (*proofs, *samples))), "form")
    if options.jobs < 1 or not 1 <= options.samples < float("inf") or options.checked < 1 or options.seed < 0:
        raise Problem("--jobs, --samples and --checked must be at least 1, --seed at least 0")

    def asked(k: Key) -> bool:
        return k.function in names and k.dtype in dtypes and k.tier in tiers and k.form in forms

    proofs, samples = list(filter(asked, proofs)), list(filter(asked, samples))
    if options.stale:
        proofs = [k for k in proofs if k not in known or known[k].digest != certificates.digest(k)]
        samples = [k for k in samples if k not in measured or measured[k].digest != sampled.digest(k)]
    return proofs, samples


def groups(keys: list[Key]) -> Iterator[tuple[Key, list[str]]]:
    """Tiers of one form are certified together: they share the truth. The most important group comes first."""
    order = {(k.function, k.form, k.dtype): place for place, k in reversed(list(enumerate(keys)))}
    together = sorted(keys, key=lambda k: order[k.function, k.form, k.dtype])
    for (function, form, dtype), members in groupby(together, key=lambda k: (k.function, k.form, k.dtype)):
        tiers = [k.tier for k in members]
        yield Key(function, form, dtype, "+".join(tiers)), tiers


def work(options: argparse.Namespace, report: Progress) -> int:
    known, beside = certificates.read(options.output), options.sampled or options.output.with_name(sampled.PATH.name)
    keys, samples = chosen(options, known, sampled.read(beside))
    if options.list:
        print("\n".join([*map(str, keys), *(f"{key}, sampled" for key in samples)]))
        return 0
    # Before work is done that could not be kept:
    for folder in (options.output.parent, beside.parent, options.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * options.minutes
    failed = 0
    todo = list(groups(keys))
    for place, (group, tiers) in enumerate(todo):
        label = f"{group} ({place + 1} of {len(todo)})"

        def advance(done: int, total: int, label: str = label) -> None:
            report(label, done / total)
            if time.monotonic() > deadline:
                raise OutOfTime

        advance(0, 1)
        effort = prover.Effort(
            jobs=options.jobs, samples=int(options.samples), checked=options.checked, seed=options.seed,
            folder=options.checkpoints, say=_say, progress=advance,
        )  # fmt: skip
        started = time.monotonic()
        try:
            found = prover.certify(REGISTRY[group.function], group.form, group.dtype, tiers, effort)
        except (prover.Mistrust, ArithmeticError) as reason:
            _say(f"FAIL {group}: no certificate, {reason}")
            failed += 1
            continue
        for certificate in found:
            verdict = "ok  " if certificate.holds else "FAIL"
            print(f"{verdict} {certificate}; contract: {certificate.bound}", flush=True)
            for root in certificate.near_roots:
                around = f"in [{root.low:g}, {root.high:g}] with terms of {root.terms:.3g}"
                print(f"     {root.largest:.6g} at {root.witness} {around}", flush=True)
            failed += not certificate.holds
        _say(f"{group}: {time.monotonic() - started:.1f} s")
        known = certificates.read(options.output) | {certificate.key: certificate for certificate in found}
        certificates.write(known.values(), options.output)
    return failed + measure(options, report, samples, beside, deadline)


def measure(options: argparse.Namespace, report: Progress, keys: list[Key], place: Path, deadline: float) -> int:
    """Measure forms on samples; how many break the contract."""
    failed, todo, started = 0, list(groups(keys)), time.monotonic()
    rows = sampled.read(place)
    try:
        for count, (group, tiers) in enumerate(todo):
            report(f"{group}, sampled ({count + 1} of {len(todo)})", count / len(todo))
            if time.monotonic() > deadline:
                raise OutOfTime
            try:
                found = sampling.certify(REGISTRY[group.function], group.form, group.dtype, tiers, options.seed)
            except (sampling.Mistrust, ArithmeticError) as reason:
                _say(f"FAIL {group}: no result, {reason}")
                failed += 1
                continue
            for row in found:
                if not row.holds or options.names:
                    print(f"{'ok  ' if row.holds else 'FAIL'} {row}; contract: {row.bound}", flush=True)
                failed += not row.holds
            rows |= {row.key: row for row in found}
    finally:
        if todo:
            sampled.write(rows.values(), place)
            _say(f"forms on samples: {len(todo)}, {time.monotonic() - started:.0f} s")
    return failed


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        with progress("certifying") as report:
            return 1 if work(options, report) else 0
    except Problem as problem:
        _say(f"certify: {problem}")
        return 2
    except (ValueError, OSError) as error:
        _say(f"certify: {error}")
        return 2
    except (KeyboardInterrupt, OutOfTime) as reason:
        _say("interrupted" if isinstance(reason, KeyboardInterrupt) else "the time is over")
        _say("finished certificates are kept; start again with --stale to go on")
        return 130 if isinstance(reason, KeyboardInterrupt) else 0


if __name__ == "__main__":
    sys.exit(main())
