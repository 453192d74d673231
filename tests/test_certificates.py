"""Certificates: those that are shipped, how they are made, and that the method finds what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
import fastact.accuracy
from fastact.accuracy import certificates
from fastact.accuracy.certificates import Certificate, Key
from fastact.kernels import REGISTRY, Declaration
from fastact.kernels import operations as op

pytest.importorskip("flint")

from fastact.accuracy import lemmas, prover
from fastact.accuracy.audit import Audit
from fastact.accuracy.case import Case, differ
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.sweep import AllFloat32, SampledFloat64, Sweep
from fastact.accuracy.ulp import from_bits, from_ordinal
from fastact.link.values import Real

ROOT = Path(__file__).parent.parent
INSTALLED = certificates.installed()
PART = AllFloat32(0x3F, 0x41)
"""Patterns 0x3f000000 to 0x40ffffff: 0.5 to 8."""


# -- those that are shipped -------------------------------------------------------------------------------------------
def test_everything_is_certified_in_all_tiers_and_forms() -> None:
    missing = certificates.missing(INSTALLED)
    assert not missing, f"{len(missing)} certificates are missing, e.g. {missing[0]}; run scripts/certify.py --stale"


def test_gradients_of_learned_parameters_are_among_them() -> None:
    assert certificates.proved("xielu") == ("value", "grad", "grad_alpha_p", "grad_alpha_n")
    assert certificates.proved("softplus") == ("value", "grad")
    assert fastact.accuracy("swish", "float32", form="grad_beta").misrounded == 0


def test_nothing_is_stale() -> None:
    stale = certificates.stale(INSTALLED)
    assert not stale, f"{len(stale)} certificates are of other kernels, e.g. {stale[0]}; run scripts/certify.py --stale"


def test_all_keep_the_contract() -> None:
    broken = [str(found) for found in INSTALLED.values() if not found.holds]
    assert not broken, "\n".join(broken)


def test_what_can_be_exhaustive_is() -> None:
    for found in INSTALLED.values():
        if found.dtype != "float64":
            assert found.exhaustive and found.inputs == 2 ** (32 if found.dtype == "float32" else 16), str(found)
        else:
            assert found.inputs >= 10**8, str(found)


@pytest.mark.parametrize("key", list(INSTALLED)[:: max(1, len(INSTALLED) // 40)], ids=str)
def test_witnesses_attain_the_errors(key: Key) -> None:
    found = INSTALLED[key]
    case = Case(REGISTRY[key.function], key.form, key.dtype)
    for witness, largest in [(found.witness, found.largest), *((r.witness, r.largest) for r in found.near_roots)]:
        x = from_bits(np.array([int(witness, 16)], dtype=np.uint64), key.dtype)
        error = case.errors(key.tier, case.results(key.tier, x), x)[0]
        assert error == pytest.approx(largest, rel=1e-3, abs=1e-9)


# -- looking them up --------------------------------------------------------------------------------------------------
def sample_certificate(**changes: Any) -> Certificate:
    key = Key("mish", "value", "float32", "fast")
    made = Certificate(
        *key, parameters=(), inputs=2**32, exhaustive=True, misrounded=7, unit="ulp", largest=2.5, witness="0xc0dc0e19",
        mean=0.1, near_roots=(), method="for a test", date="2026-01-01", digest=certificates.digest(key),
    )  # fmt: skip
    return replace(made, **changes)


def test_the_package_is_callable(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sample_certificate()
    monkeypatch.setattr(certificates, "installed", lambda: {made.key: made})
    assert fastact.accuracy("mish", "float32", "fast") is made
    assert fastact.accuracy("mish", np.float32, True) is made
    assert made.worst_input == np.array([0xC0DC0E19], dtype=np.uint32).view(np.float32)[0]
    assert "mish float32 fast" in str(made) and "2.5 ULP" in str(made)
    row = next(certificates.rows("mish"))
    assert row["function"] == "mish" and row["bound"] == "4 ULP" and row["max_error"] == 2.5
    assert not list(certificates.rows("silu"))
    with pytest.raises(LookupError, match="mish float64 exact"):
        fastact.accuracy("mish", "float64")
    with pytest.raises(ValueError, match="no function 'mush'"):
        fastact.accuracy("mush")
    with pytest.raises(ValueError, match="int32"):
        fastact.accuracy("mish", "int32")
    with pytest.raises(ValueError, match="'exactly'"):
        fastact.accuracy("mish", "float32", "exactly")


def test_importing_them_needs_no_arbitrary_precision() -> None:
    code = (
        "import sys; sys.modules['flint'] = None; import fastact; "
        "print(callable(fastact.accuracy), len(list(fastact.accuracy.certificates.rows())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split()[0] == "True"


def test_stale_and_missing_are_told(tmp_path: Path) -> None:
    made = sample_certificate()
    path = tmp_path / "certificates.json"
    certificates.write([made], path)
    known = certificates.read(path)
    assert known == {made.key: made}
    assert not certificates.stale(known)
    assert made.key not in certificates.missing(known)
    assert certificates.stale({made.key: replace(made, digest="0" * 16)}) == [made.key]
    assert made.key in certificates.missing({})
    assert path.read_text().startswith('{"generated by scripts/certify.py; do not edit"')


def test_a_file_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "certificates.json"
    for text in ("{", "[]", '{"certificates": [{"function": "mish"}]}', '{"rows": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a file of certificates"):
            certificates.read(path)
    assert certificates.read(tmp_path / "none.json") == {}


def test_holding_is_judged_by_the_contract() -> None:
    assert sample_certificate(largest=3.9).holds and not sample_certificate(largest=4.1).holds
    assert not sample_certificate(largest=float("inf")).holds
    assert not sample_certificate(tier="exact", largest=0.5, misrounded=1).holds
    assert sample_certificate(tier="exact", largest=0.5, misrounded=0).holds
    root = certificates.NearRoot(-2.0, -1.0, 0.25, 5.0, "0xbf800000")
    assert not sample_certificate(form="grad", near_roots=(root,)).holds


# -- making them ------------------------------------------------------------------------------------------------------
def sweep_of(declaration: Declaration, **options: Any) -> Sweep:
    return Sweep(Audit(declaration, "value", "float32", ("exact", "fast")), PART, **options)


def changed(name: str, change: Any) -> Declaration:
    """A function whose body is wrong in float32, but for what decides close cases there."""
    honest = REGISTRY[name]

    def body(x: Any) -> Any:
        value = honest.value(x)
        return value if op.plain(x).context.arithmetic.decisive else change(value, x)

    return replace(honest, value=body, settled=("value",))


def test_a_right_kernel_passes() -> None:
    outcomes = sweep_of(REGISTRY["exp"]).run()
    exact, fast = outcomes["exact"], outcomes["fast"]
    assert exact.regions[0].count == PART.total and exact.regions[0].largest <= 0.5
    assert exact.open_count < 4000  # about one in 2^15 lies within 2^-40 of a rounding boundary
    x = from_bits(np.array([fast.regions[0].witness]), "float32")
    case = Case(REGISTRY["exp"], "value", "float32")
    assert case.errors("fast", case.results("fast", x), x)[0] == pytest.approx(fast.regions[0].largest, rel=1e-6)


def test_an_error_of_the_last_place_is_found() -> None:
    outcome = sweep_of(changed("exp", lambda value, x: value * (1.0 + 2.0**-30))).run()["exact"]
    assert 2**15 < outcome.open_count < 2**21  # 2^-30 reaches across a boundary for about one input in sixty-four


def test_one_wrong_result_is_found() -> None:
    wrong = changed("exp", lambda value, x: op.where(x.equals(1.5), value * (1.0 + 2.0**-22), value))
    assert 1.5 in np.concatenate(sweep_of(wrong).run()["exact"].open)


def test_what_other_processors_compute_is_compared() -> None:
    """One result of float64 is wrong, which stands in for pairs where tables lie in memory, and decides close cases."""
    honest = REGISTRY["tanh"]

    def body(x: Any) -> Any:
        value = honest.value(x)
        return op.where(x.equals(1.5), value * (1.0 + 2.0**-22), value) if isinstance(value, Real) else value

    for value, error in ((honest.value, 0.5), (body, 1.0)):
        audit = Audit(replace(honest, value=value), "value", "float32", ("exact",))
        errors = np.empty(2)
        audit.errors(np.float32([1.5, 1.25]), [errors])
        assert audit.results("exact", np.float32([1.5]))[0] == np.float32(np.tanh(1.5))
        assert abs(errors[0]) == 1.0 if error == 1.0 else abs(errors[0]) < error
        assert abs(errors[1]) < 0.5


def test_nan_and_zeros_of_the_wrong_sign_are_found() -> None:
    nan = sweep_of(changed("exp", lambda value, x: op.where(x > 7.9, float("nan"), value))).run()
    beyond = np.float32(8).view(np.uint32) - np.float32(7.9).view(np.uint32) - 1
    assert min(nan["exact"].open_count, nan["fast"].open_count) >= beyond
    zero = Audit(changed("exp", lambda value, x: op.where(x < -200.0, -0.0, value)), "value", "float32", ("fast",))
    errors = np.empty(2)
    zero.errors(np.float32([-100.0, -300.0]), [errors])
    assert errors[0] == pytest.approx(0.0, abs=1.0) and np.isnan(errors[1])


def test_infinities_for_numbers_are_found() -> None:
    wrong = changed("exp", lambda value, x: op.where(x > 88.5, float("inf"), value))
    audit = Audit(wrong, "value", "float32", ("fast", "rough"))
    errors = [np.empty(3), np.empty(3)]
    audit.errors(np.float32([88.0, 88.6, 100.0]), errors)
    for found in errors:
        assert np.isfinite(found[0]) and np.isnan(found[1]) and found[2] == 0.0


def test_float64_errors_are_those_of_ball_arithmetic() -> None:
    case = Case(REGISTRY["mish"], "value", "float64")
    audit = Audit(case.declaration, "value", "float64", ("fast", "rough"))
    x = case.sample(800, 3)
    x = x[np.isfinite(x)]
    errors = [np.empty(x.size), np.empty(x.size)]
    audit.errors(x, errors)
    for tier, found in zip(audit.tiers, errors, strict=True):
        truth = case.errors(tier, audit.results(tier, x), x)
        known = ~np.isnan(found)
        assert (known | (x == 0)).all()
        # The double-double evaluation is good for 2^-65, which is 2^-12 ULP.
        assert np.allclose(np.abs(found[known]), truth[known], rtol=1e-3, atol=2.0**-12 if tier == "fast" else 1e-15)


def test_results_next_to_ties_of_the_smallest_numbers_are_settled_by_argument() -> None:
    oracle = Oracle("x/(1 + exp(-x))")
    signs = lemmas.halving(oracle, None, ())
    assert signs == {1: 1, -1: 1}
    random = np.random.default_rng(7)
    x = from_ordinal(random.integers(-(1 << 24) + 1, 1 << 24, 500), "float32")
    truth = oracle.rounded(x)
    applies, right = lemmas.halved(signs, x, truth)
    assert np.array_equal(applies, x != 0) and np.array_equal(right, applies)
    wrong = np.nextafter(truth, np.float32(1))
    assert not lemmas.halved(signs, x, wrong)[1].any()
    assert lemmas.halving(Oracle("exp(x)"), None, ()) is None
    assert lemmas.halving(Oracle("x*tanh(log1p(exp(x)))"), None, ()) is None


def test_sixteen_bits_are_certified_exhaustively() -> None:
    effort = prover.Effort(jobs=1)
    exact, rough = prover.certify(REGISTRY["exp"], "value", "bfloat16", ("exact", "rough"), effort)
    assert exact.inputs == 65536 and exact.exhaustive and exact.misrounded == 0 and exact.largest <= 0.5
    assert rough.misrounded and 0.5 < rough.largest <= 0.6
    assert exact.digest == certificates.digest(exact.key)


def test_float64_is_certified_on_samples() -> None:
    effort = prover.Effort(jobs=1, samples=1 << 20, checked=2000)
    (exact,) = prover.certify(REGISTRY["tanh"], "value", "float64", ("exact",), effort)
    assert exact.holds and exact.inputs >= 1 << 20 and not exact.exhaustive


# -- interruptions ----------------------------------------------------------------------------------------------------
class Stopped(Exception):
    pass


def stop_after(count: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done >= count:
            raise Stopped

    return progress


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    whole = sweep_of(REGISTRY["exp"]).run()
    path = tmp_path / "exp.json"
    with pytest.raises(Stopped):
        sweep_of(REGISTRY["exp"], checkpoint=path).run(progress=stop_after(1))
    resumed = sweep_of(REGISTRY["exp"], checkpoint=path)
    assert resumed.done and len(resumed.done) < PART.units
    outcomes = resumed.run()
    for tier in whole:
        assert outcomes[tier].regions[0].largest == whole[tier].regions[0].largest
        assert outcomes[tier].regions[0].count == whole[tier].regions[0].count
        assert outcomes[tier].open_count == whole[tier].open_count
    resumed.forget()
    assert not path.exists()


def test_foreign_and_damaged_checkpoints_are_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "exp.json"
    with pytest.raises(Stopped):
        sweep_of(REGISTRY["exp"], checkpoint=path).run(progress=stop_after(1))
    said: list[str] = []
    assert not sweep_of(REGISTRY["tanh"], checkpoint=path, say=said.append).done
    assert "another kernel" in said[-1]
    good = path.read_text()
    for text in (good[:-20], "", "[1, 2]", good.replace('"done": [', '"done": [999, '), "\0"):
        path.write_text(text)
        assert not sweep_of(REGISTRY["exp"], checkpoint=path, say=said.append).done
        assert "damaged" in said[-1] or "another" in said[-1]
    state = json.loads(good)
    state["outcomes"]["exact"]["open"] = None
    path.write_text(json.dumps(state))
    assert not sweep_of(REGISTRY["exp"], checkpoint=path, say=said.append).done
    assert "starting anew" in said[-1]


def test_samples_do_not_depend_on_their_order() -> None:
    source = SampledFloat64(3 << 20, 5, (), (-np.inf, np.inf))
    first = [block[0] for block in source.blocks(1)]
    assert first == [block[0] for block in source.blocks(1)] or np.isnan(first).any()
    assert source.total == 3 << 20


def test_differences_are_of_numbers() -> None:
    a = np.float32([0.0, -0.0, np.nan, 1.0, np.nan])
    b = np.float32([0.0, 0.0, -np.nan, 1.0, 2.0])
    assert differ(a, b).tolist() == [False, True, False, False, True]


def test_rough_errors_of_subnormal_truths_are_those_of_the_truths_before_rounding() -> None:
    case = Case(REGISTRY["prelu"], "value", "float32")
    audit = Audit(case.declaration, "value", "float32", ("rough",))
    x = -np.arange(1, 400, dtype=np.uint32).view(np.float32)
    errors = np.empty(x.size)
    audit.errors(x, [errors])
    truth = case.errors("rough", audit.results("rough", x), x)
    assert truth.max() > 2.0**-26
    assert np.allclose(np.abs(errors), truth, rtol=1e-6, atol=0.0)


def test_errors_of_nothing_but_noise_do_not_make_the_method_doubtful() -> None:
    effort = prover.Effort(jobs=1, checked=100, part=(126, 127))
    (exact,) = prover.certify(REGISTRY["softshrink"], "value", "float32", ("exact",), effort)
    assert exact.misrounded == 0
