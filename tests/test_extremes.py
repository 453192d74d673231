"""Results that are ordinary numbers, of arguments, parameters and incoming gradients that are anything but.

On the way to them others may overflow, or lose their digits among the subnormal numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, REGISTRY, SEED, TIERS

from fastact.accuracy import outputs
from fastact.accuracy.case import Case
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.ulp import Floats, format_of, nearest
from fastact.cpu.kernels import inner_ufunc
from fastact.function import FUNCTIONS

EXACT = {"float16": 0.5 + 2.0**-20, "bfloat16": 0.5 + 2.0**-20, "float32": 0.5 + 2.0**-20, "float64": 0.501}
ROUGH = {"float16": 1.0, "bfloat16": 0.6, "float32": 2.0**-12, "float64": 2.0**-24}


def truth_of(name: str, form: str) -> tuple[Oracle, str | None]:
    """The oracle of a form, of (x or y, further inputs, parameters), and the variable of its derivative."""
    declaration = REGISTRY[name]
    names = tuple(p.name for p in declaration.parameters)
    kind, _, variable = form.partition("_")
    if form == "from_output":
        return Oracle(outputs.formula(name), ("g", *names)), None
    if kind == "backward":
        return Oracle(f"g*({declaration.formula})", ("g", *names)), variable or "x"
    return Oracle(declaration.formula, names), None if kind == "value" else variable or "x"


def wrong(name: str, form: str, dtype: str, inputs: list[Floats]) -> list[str]:
    """What the contract forbids among the results; the inputs are g where the form takes one, x or y, parameters."""
    oracle, wrt = truth_of(name, form)
    place = 1 if "g" in oracle.parameters else 0
    x, rest = inputs[place], [*inputs[:place], *inputs[place + 1 :]]
    number, complaints = format_of(dtype), []
    with np.errstate(all="ignore"):
        truth = oracle.rounded(x, *rest, wrt=wrt).astype(np.float64)
        for tier in TIERS:
            y = np.asarray(inner_ufunc(name, form, tier)(*inputs))
            relative = tier == "rough" and number.width > 16
            measure = oracle.relative_error if relative else oracle.ulp_error
            errors = measure(x, y, *rest, wrt=wrt)
            if tier == "exact":
                allowed = EXACT[dtype]
                if dtype != "float64":  # a tie between two results, or next to one, is not told by its error
                    errors = np.where((y.astype(np.float64) == truth) | np.isnan(truth), errors, np.inf)
            elif tier == "rough":
                allowed = ROUGH[dtype]
                # Results below the smallest normal number may be zeros, and errors are relative to it.
                small = np.abs(truth) <= number.smallest_normal
                distance = np.abs(y.astype(np.float64) - truth) / number.smallest_normal
                errors = np.where(small & ((y == 0) | (distance <= allowed)), 0.0, errors)
                errors = np.where(np.isinf(y) & (np.abs(truth) >= number.largest * (1 - 2.0**-11)), 0.0, errors)
            else:
                elementary = REGISTRY[name].family == "elementary" and form == "value"
                allowed = 0.51 if number.width == 16 else 2.0 if elementary else 4.0
            for i in np.flatnonzero(~(errors <= allowed)).tolist():
                given = ", ".join(repr(float(a[i])) for a in inputs)
                complaints.append(f"{name}.{form} {dtype} {tier} of {given}: {y[i]!r}, not {truth[i]!r}")
    return complaints


CASES: dict[tuple[str, str, str], list[tuple[float, ...]]] = {
    # beta x rounded before the exponential, and the far tail over a small beta
    ("softplus", "value", "float32"): [(-33071144.0, 2.67975770e-06), (-534.266052, 0.166711822), (-3.4e38, 1.27e-35)],
    ("softplus", "value", "float64"): [
        (-2.675340300971673e43, 2.706226826200125e-41), (1.0, 1e-320), (39.0, 5e-324), (-0.0248, 2.68e199),
        (-1.1159759403453731e281, 1.041248584098818e-282), (9.19912786058698e-309, 4.010786165983486e307),
        (6.86894525711739e-309, 1.11688619407763e307), (5.1759071488121346e-300, 1.2337399866291086e306),
    ],
    ("softplus", "from_output", "float32"): [(-3.4e38, 10.03, 7.9e-42), (-3.7158661, 1.4e-45, 680.7594)],
    ("softplus", "from_output", "float64"): [(1.43e275, 2.16e234, 6.62e-317), (1.8e-58, 5.2e-314, 1.19e186)],
    ("swish", "value", "float32"): [(-6.080799898628607e35, 2.8481780422380256e-34), (3.4e38, -5.3e-37)],
    ("swish", "backward_beta", "float32"): [(1.18e-38, -1.7e21, 1.18e-38), (8.9957088e7, -1.7238992e-7, -3.72451296e8)],
    ("swish", "backward_beta", "float64"): [
        (1.5e-323, 2.99e234, 1.5e-323), (-1.18e75, -7.97e-126, -8.27e127), (4.1e89, -1.8242624e307, 6.5687e-305),
        (2.5e286, -1.47398e304, 1.057286e-301), (1.7e308, 1.7e308, -1.6e-305), (-1e307, -1e308, 2.4e-305),
        (7.218521393305474e-61, 7.469332026868085e-61, 3.907709913153277e62),
    ],
    ("elu", "grad", "float32"): [(-2.9e18, -3.4e38), (-113.43411, 1.747e21)],
    ("elu", "value", "float64"): [(-2.304947109877336, -2.2250738585072014e-308), (-0.019, -1.151898761363779e-306)],
    ("elu", "grad", "float64"): [(-5.9e167, -4.8e-212), (-1e16, 9e307), (-6.4e40, 5e-324)],
    ("celu", "value", "float32"): [(-9.63e-17, 6.25e34), (-4.2377771e-8, 4.15e36), (-1.79e-39, -3.2e7)],
    ("celu", "value", "float64"): [
        (-8.4e-308, -1.2e19), (-6.6e-37, 7.4e298), (-1.7976931348623157e308, -1.5087765524426878e307),
        (-1.99159807355e-313, -2.278371384e-315), (-2.070399237186642e-308, -3.0380459593540325e-305),
        (-5e-324 * 1430, -5e-324), (-5e-324 * 1460, -5e-324), (-1e-320, 1e-310), (-2.2182537e-308, 8.9e-306),
        (-1.1742312673005158e-307, 8.447017293617485e-308),
    ],
    ("celu", "grad", "float32"): [(-2.2172886e-40, 3.37e-42)],
    ("celu", "grad", "float64"): [(-3.828e-312, 3.546e-313)],
    ("celu", "from_output", "float32"): [(-4.9e-39, -3.4e29, -9.8e-12), (-2.4e-17, -116250151747584.0, -2.1e-33)],
    ("celu", "from_output", "float64"): [
        (0.0155, -1.599e-311, 1.757e-311), (-0.004, 0.0, 5e-324),
        (2.1176469966869237e120, -1.86944898592906e307, -1.7976931348623157e308), (3.0, -1e308, 1.2e308),
        (-225.875, -np.inf, -100.1875), (2.0, -np.inf, -5e-324),
    ],
    ("rsqrt", "backward", "float32"): [(-1.4e-45, 1.4e-45), (-2.66e-44, 6.49e-12), (4.2e-45, 0.01133714)],
    ("rsqrt", "backward", "float64"): [(-5e-324, 6.3e-222), (2.36e-317, 1.26e-48)],
    ("rsqrt", "from_output", "float32"): [(-1.4e-45, 8.9e8), (-2.036e-42, 115.2)],
    ("rsqrt", "from_output", "float64"): [
        (-2.2e-54, 2.724e-85), (-2.21e-49, 5.796e-87), (1e-100, 1e-100), (1.36e178, 4.11e170), (-5e-324, 3.19e53),
        (1e-60, 2e105),
    ],
    ("reciprocal", "backward", "float64"): [(-1.461e-320, -1.2086216449550345e-91), (5e-324, -7.660734016124311e-95)],
    ("reciprocal", "from_output", "float64"): [(-5e-322, 1.9986280159207725e95), (1e308, 5e-324), (5e-324, 1e300)],
    ("reciprocal", "backward", "float32"): [(1.4e-45, 0.0253884885), (-1.48e-41, -0.06067337)],
    ("reciprocal", "from_output", "float32"): [(-4.2e-45, 28.5273819), (3.789e-42, -74.74)],
    ("sqrt", "from_output", "float32"): [(48.97, 3.4e38)],
    ("sqrt", "from_output", "float64"): [(6.97e193, 1.79e308)],
    ("exp2", "from_output", "float32"): [(1.7e38, 2.2)],
    ("expm1", "from_output", "float64"): [(-3e-108, 1.79e308)],
    ("squareplus", "value", "float64"): [(7.7e-130, 1.37202775424283e303), (-5e295, 3.95e146), (-0.025, 1.9e306)],
    ("squareplus", "grad", "float32"): [
        (-1.575893548710295e-17, 4.764414778704378e-44), (-9.489041314013826e19, 283.48404), (-4.379857e19, 0.00295),
    ],
    ("squareplus", "grad", "float64"): [(-9.8e250, 6e239), (-9.8377e152, 1.902), (-1e-150, 4e-322)],
    ("squareplus", "backward", "float32"): [(3.18e28, -1.217e28, 4.0)],
    ("squareplus", "from_output", "float32"): [(8.32, 3.557e26, 3.14e29), (98540.664, 2.1e-25, 1.4e-45)],
    ("squareplus", "from_output", "float64"): [
        (-2.17e-55, 8e-133, 5e-324), (3.6e-36, 3.9e21, 2.2e257), (-8.466e276, 1.7456e-49, 1.21885e-97),
    ],
    ("star_relu", "value", "float64"): [
        (78.40516090431224, -3.747999187643e-312, -5e-324), (74.17684701664443, -3.59139073946e-312, 4.17e-308),
        (3.4722456696099897, 1.5e-323, -4.02350543280173e-309), (1e-160, 1.7, -2e-320), (3.0, -0.0, 5e-324),
        (9.322266153878388e276, -1.8716306935146432, -2.7040947760774668e28),
    ],
    ("star_relu", "backward", "float64"): [(-3.4e306, 74.5, -0.0, -1.09)],
    ("star_relu", "grad", "float32"): [(1.3157e-7, -3.4e38, 1.8e-38), (-10.57, -3.4e38, 1.0)],
    ("star_relu", "backward", "float32"): [(1.7e38, 2.88, 8.76e-34, 1.0), (48.4, 1.4e-45, 1.26e38, 2.0)],
    ("star_relu", "backward_scale", "float32"): [(-1.4e-45, 177.7766, 1.0, 1.0)],
    ("rrelu", "grad", "float64"): [(-1.0, 5e-324, 5e-324)],
    ("rrelu", "backward", "float64"): [
        (1e120, -1.0, 5e-324, 1.5e-323), (60.38349231420861, -134.2, -7.80955338060408e-310, -1.88746e-318),
        (25.3, -2.6, -5e-324, 0.0), (1.0, -1.0, -1.7e308, 1.7e308), (1e-10, -3.0, 1.7e308, 1.7e308),
    ],
    ("hardswish", "backward", "float32"): [(3.4e38, 0.000226), (3.4e38, 0.35)],
    ("hardswish", "backward", "float64"): [(-1.79e308, 1.3e-28)],
    ("snake", "grad", "float32"): [
        (3.0e17, 1.58607018), (-3596583.75, 28.4787178), (-13325524.0, 3.4e38), (3.4e38, -2.95),
    ],
    ("snake", "value", "float64"): [
        (3.0258608407328886e306, 1.6288455e-317), (-1.7976931348623157e308, -2.2555813e-316), (1e300, -1e300),
        (-6.699217741946912e-308, 2.1445343343650613e307), (1.7e308, 1.7e308), (2e-308, -1e308),
        (6.536267409913074e-309, 4.61637473243092e307),
    ],
    ("snake", "grad", "float64"): [
        (-7.1e70, 0.5706033155316225), (11.160669707100364, 1.2746e245), (1.7976931348623157e308, 84096.34643949174),
        (-6.906751139922522e192, -7.548901549047542e304), (1.7976931348623157e308, 1.7976931348623157e308),
        (1e301, 1e7), (-3e200, 5e110), (2.5e-3, 1.7e308),
    ],
    ("snake", "backward", "float64"): [(6.2e-302, -2.8e303, -1.797e308), (-1e100, 1e200, 1e200)],
    ("snake", "grad_alpha", "float32"): [(171854608.0, -4.97086668), (15.1353159, -95834264.0), (3.28e37, 1171.235)],
    ("snake", "grad_alpha", "float64"): [
        (1.1648803509701698e73, 0.170458068063303), (4.018489228674953e306, -5.662233402268307e111), (1e250, 1e250),
    ],
    ("snake", "backward_alpha", "float32"): [
        (1.4e-45, 363.447083, 0.142006382), (5.6e-26, 14516401.0, -4.93e17), (-1.4e-45, -9.174954492569846e17, 1.0),
    ],
    ("snake", "backward_alpha", "float64"): [
        (7.877e249, -1.126e-262, -1.383e262), (6.7e-312, 1.797e308, -1.61), (1e200, -1e-200, 1e200),
        (4.5087209169512985e305, -2.252719155801419e-307, -6.650926610752028e304), (5e-324, 1.75e178, 1.0),
        (-4.106869771310508, -1.7832684672454825e308, 1.668805393880401e-308), (5e-324, -3.513e91, 2.225e-308),
    ],
    ("xielu", "grad_alpha_p", "float32"): [(7785.04, -111.646469, 0.0, 0.5, -1e-6)],
    ("xielu", "grad_alpha_p", "float64"): [(77.0, -1e20, 1.0, 0.5, -1e-6), (402.58, -1.46e63, 0.0, 0.1, -0.005)],
    ("xielu", "grad_alpha_n", "float64"): [
        (-5.18, 17.0, -8.2e26, 5.5, -35.5), (-1.0, 1.35, 0.0, 1.7e177, -8.07e306),
        (-3.4e306, 5e-321, -1.3e268, 0.0, -5.7e307),
    ],
    ("xielu", "grad", "float32"): [(-107.256454, 1.0, -72.8289413, 4.5e32, -1e-38)],
    ("xielu", "grad", "float64"): [
        (-1.999999297805456, -7.7, -2.3e-282, 558.8845961276025, -5e-324),
        (2.1e171, 72.0, -3.9e154, -1.797e308, -1e-170),
        (-3.376e-307, -1.797e308, 1.797e308, 8.99e307, -1.4e-320), (4.77e306, -3.43, 9.3e304, -1.568e308, 0.0),
        (9.85e301, -1.02e306, -0.32, 7.077e-301, -0.04), (-1e-310, 1.0, 2.0, 1e-310, -1e-320),
        (-3.0, 1.0, -740.0, 0.0, -1.0),
    ],
    ("xielu", "backward", "float64"): [
        (-1.08e-136, 0.0653, 8.38e305, -1262.0, 1.26, -9.8e-137),
        (-6.26e-309, 9.4e146, 1.98e305, -1.0, -7.6, -1.2e-145),
        (1e-300, 1e300, 1e300, -1.0, 1.0, -1.0), (1e305, -1e-3, 0.0, -1500.0, 0.0, -1e-6),
        (1e305, -900.0, 0.0, -900.0, 1.0, -1.0),
    ],
    ("xielu", "backward", "float32"): [(-4.2978357e-23, 8.10008e20, 2.60884766e17, -2e-42, -1.628, -0.0)],
    ("xielu", "value", "float32"): [
        (-5.9057626344838354e-08, 8.8e-39, 0.5890796184539795, -1.0170999765396118, -2.5073602199554443),
        (-1.0, 4.1e-40, 5.9e36, 2.19e-31, -2388688128.0), (-1.0, -5.9e8, 3337.4, -6.72e-28, -2.18e17),
        (-1.0, 5.28, 1.36e35, 7.43e-14, -1.26e30), (-3.4e38, 1.0, -80.0, 1.0, -1.0), (1e30, -90.0, 1.0, -1e5, -1.0),
    ],
    ("xielu", "value", "float64"): [
        (-4.6213670454849916e-39, 1.7e-308, 0.5890796199064923, -1.017099951956167, -2.507360306645501),
        (5.84e-176, 3.79e-311, -1.36e-178, -2.26e306, -1.7e-143), (7.93e147, 2.19e306, 1.2e180, -5.66e29, -8.8e48),
        (-2.43408328825671, -0.003, 8.99e307, 2.6e-37, -9.1e307), (9.1e-151, 0.12, -4.99e-321, 1.44e308, -9.3e150),
        (1.9e302, 3.67e-301, 0.5, -2.99e307, -3.2e66), (1e300, -800.0, 1.0, 1e200, -1.0),
        (-1e300, 1.0, -760.0, 1.0, -1e-6),
        (-1.714339509922552e-308, -4.6, 1.756694973844403e308, -5.43e-322, -1.58e-314), (-1e-200, 1.0, 1.0, 0.0, -1e-6),
        (-1.0, 1.0, 1e305, 1e-200, -1e300), (1e-320, 1.0, 1.0, -1.797e308, 0.0),
        (-3.07e-317, 1.5e-299, 7.15e306, -0.2, -4.4e-308),
        (-1.0, 1.0, 1.0, 0.0, -115.0), (-1.0, 1.0, -3.0, 1e-60, -300.0),
    ],
    # x beta is a tie
    ("xielu", "value", "bfloat16"): [(8.876905287225068e-19, 1.0, 1.0, 1.5, -1e-6), (8.9e-19, 1.0, -3.0, 1.5, -1e-6)],
    ("xielu", "backward_alpha_p", "float64"): [
        (1.36e308, 4.37e306, -5.9e307, 6.1, 1e-308, -1e308), (3e307, 1e307, -2800.0, 0.0, 0.0, -1.0),
        (-3e307, 1e307, -2300.0, 0.0, 0.0, -1.0), (1e-300, 1e-3, 5.0, 1.0, 1.0, -1.0),
        (2.0, 1e-10, -640.0, 1.0, 1.0, -1.0),
        (1.038638460918149e-60, 1.1337198687096436e-60, -297.8479571665215, 1.331, 1.658, -1.495),
    ],
    ("xielu", "backward_alpha_n", "float32"): [(4.01e36, -1.0, -3.4e37, 6.86e17, 2.2e28, -3.4e38)],
    ("xielu", "backward_alpha_n", "float64"): [
        (-7.90308672580229e88, -4.915144174794248e-137, -4e-308, -285.0967161016226, -4e-298, -1.460841e-317),
        (-1.655e-115, -5.5e304, -6e305, 2.1267, -2.4e-18, -1.4e308),
        (-1.797e308, -9.785e-306, 2e-308, 3e-308, 1e308, -3e-320),
        (1e305, -1.0, 0.0, 1.0, 1.0, -800.0), (1e305, -1.0, 0.0, 1.0, 1.0, -1e306),
        (5.46e9, -1.1e-317, -3e303, -1.7, -6e-308, -3.3e-317),
    ],
    # the root of what is above 1 by one step is above it by half of one
    ("sparse_plus", "from_output", "float64"): [
        (-0.1954024517170138, 1.0000000000000002), (3.0, 0.9999999999999999), (1.5, 1.0), (1.1, 1.0000000000000004),
        (1.0, np.inf), (np.inf, 0.3), (-2.0, 0.0), (1.7, -0.0), (0.3, np.nan), (0.3, 1e308), (5e-324, 0.5),
    ],
    ("log", "from_output", "float64"): [(1.7e308, 1430.0), (5e-324, -1000.0), (5e-324, -1e300)],
}  # fmt: skip
"""Some that have been wrong."""


@pytest.mark.parametrize(("name", "form", "dtype"), CASES)
def test_results_within_reach(name: str, form: str, dtype: str) -> None:
    number = format_of(dtype)
    columns = np.array(CASES[name, form, dtype]).T
    inputs = [nearest(column, dtype).astype(number.dtype) for column in columns]
    complaints = wrong(name, form, dtype, inputs)
    assert not complaints, "\n".join(complaints)


TIES: dict[tuple[str, str, str], list[tuple[float, ...]]] = {
    ("snake", "grad_alpha", "float32"): [(8.675734962252171e-19, 1.0), (7.107162081076979e-15, 1.0)],
    ("snake", "backward_alpha", "bfloat16"): [(-5.529727786779404e-10, -9.313225746154785e-09, 0.77734375)],
    ("swish", "backward_beta", "float16"): [(47.5, -0.01953125, 3.5762786865234375e-07)],
    ("swish", "backward_beta", "bfloat16"): [(-0.19921875, 4.57763671875e-05, 5.91278076171875e-05)],
    ("sigmoid", "backward", "float32"): [(-8.864375864579858e-39, -4.058761200502466e-21)],
    ("gelu", "backward", "float32"): [(-3.0205254645229654e-39, -1.9139595915392248e-32), (4.2e-45, 5.03e-24)],
    ("tanhshrink", "backward", "bfloat16"): [(-1.6697754290362354e-13, -8.731149137020111e-11)],
    ("elu", "value", "bfloat16"): [(-7.632783294297951e-17, 5.625)],
    ("elu", "from_output", "bfloat16"): [(0.00732421875, -2.0203809154758067e-39, 1.2293457984924316e-07)],
}
"""Some whose results lie between two others, or would but for what no number of twice the digits has."""


@pytest.mark.parametrize(("name", "form", "dtype"), TIES)
def test_ties_are_decided(name: str, form: str, dtype: str) -> None:
    number = format_of(dtype)
    inputs = [nearest(column, dtype).astype(number.dtype) for column in np.array(TIES[name, form, dtype]).T]
    oracle, wrt = truth_of(name, form)
    place = 1 if "g" in oracle.parameters else 0
    truth = oracle.rounded(inputs[place], *inputs[:place], *inputs[place + 1 :], wrt=wrt)
    y = inner_ufunc(name, form, "exact")(*inputs)
    np.testing.assert_array_equal(y.astype(np.float64), truth.astype(np.float64))


def anywhere(dtype: str, count: int, random: np.random.Generator) -> Floats:
    """Positive numbers from all binades."""
    number = format_of(dtype)
    exponents = random.uniform(number.smallest_exponent, number.largest_exponent, count)
    return nearest(np.minimum(2.0**exponents, number.largest), dtype).astype(number.dtype)


PRODUCTS = [("rsqrt", "backward"), ("reciprocal", "backward"), ("log", "backward"), ("log2", "backward")] + [
    (name, "from_output") for name in ("exp", "exp2", "reciprocal", "rsqrt", "sqrt", "log", "log1p", "log2", "logit")
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "form"), PRODUCTS)
def test_products_of_any_two_sizes(name: str, form: str, dtype: str) -> None:
    random = np.random.default_rng(SEED)
    g, x = anywhere(dtype, 120, random), anywhere(dtype, 120, random)
    complaints = wrong(name, form, dtype, [g * random.choice([-1, 1], 120).astype(g.dtype), x])
    assert not complaints, "\n".join([*complaints, f"FASTACT_TEST_SEED={SEED}"])


@pytest.mark.parametrize("name", ["gelu", "mish"])
def test_fast_products_next_to_the_root_in_float16(name: str) -> None:
    """Of the number nearest to the root the gradient has too few digits in float32, which factors bring to light."""
    random, case = np.random.default_rng(SEED), Case(REGISTRY[name], "backward", "float16")
    x = np.full(400, case.declaration.gradient_roots[0]).astype(np.float16)
    g = (random.standard_normal(400) * 10.0 ** random.uniform(-1, 3, 400)).astype(np.float16)
    errors = case.errors("fast", case.results("fast", x, g), x, g)
    worst = int(errors.argmax())
    assert errors[worst] <= 0.51, f"{name} of {g[worst]}, {x[worst]} (FASTACT_TEST_SEED={SEED})"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_that_is_exactly_zero_has_no_sign_of_its_own(dtype: str) -> None:
    case, number = Case(REGISTRY["hardswish"], "backward", dtype), format_of(dtype).dtype
    x, g = np.full(2, -1.5, number), np.array([11.0, -11.0], number)
    for tier in TIERS:
        y = case.results(tier, x, g)
        assert (y == 0).all() and (case.errors(tier, y, x, g) == 0).all()


ROOTED = [name for name, declaration in REGISTRY.items() if declaration.gradient_roots]


@pytest.mark.parametrize("name", ROOTED)
def test_products_of_any_size_next_to_the_root_of_a_gradient(name: str) -> None:
    """What is left of digits that cancel there counts whether the other factor is held apart or not."""
    random, case = np.random.default_rng(SEED), Case(REGISTRY[name], "backward", "float64")
    distance = 2.0 ** -random.uniform(5, 50, 60) * random.choice([-1, 1], 60)
    x = random.choice(case.declaration.gradient_roots, 60) * (1 + distance)
    g = anywhere("float64", 60, random)
    errors = case.errors("exact", case.results("exact", x, g), x, g)
    worst = int(errors.argmax())
    assert errors[worst] <= EXACT["float64"], f"{name} of {g[worst]}, {x[worst]} (FASTACT_TEST_SEED={SEED})"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "form"), [("softplus", "value"), ("softplus", "grad"), ("celu", "grad")])
def test_tails_whatever_the_parameter(name: str, form: str, dtype: str) -> None:
    """Products, or quotients, of x and the parameter are where exponentials fade."""
    random, number = np.random.default_rng(SEED), format_of(dtype)
    reach = 1.1 * abs(number.smallest_exponent) * np.log(2)
    par = nearest(2.0 ** random.uniform(-10, 10, 150), dtype)
    t = -random.uniform(0, reach, 150)
    x = nearest(t * par if name == "celu" else t / par, dtype).astype(number.dtype)
    complaints = wrong(name, form, dtype, [x, par.astype(number.dtype)])
    assert not complaints, "\n".join([*complaints, f"FASTACT_TEST_SEED={SEED}"])


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_parameters_have_their_limits(dtype: str, tier: Any) -> None:
    number = format_of(dtype).dtype.type
    one, infinite = number(-1.0), number(np.inf)
    with np.errstate(all="ignore"):
        assert FUNCTIONS["squareplus"](one, infinite, approx=tier) == np.inf
        assert FUNCTIONS["squareplus"].grad(one, infinite, approx=tier) == 0.5
        assert FUNCTIONS["celu"](one, infinite, approx=tier) == -1.0
        assert FUNCTIONS["celu"].grad(one, infinite, approx=tier) == 1.0
        for x in (number(-2.0), number(2.0)):
            for name, limit in (("swish", max(x, 0)), ("snake", x), ("celu", x)):
                assert FUNCTIONS[name](x, infinite, approx=tier) == limit, name
        with pytest.raises(ValueError, match="beta is inf"):
            FUNCTIONS["softplus"](one, infinite, approx=tier)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_at_a_pole_have_the_sign_of_the_zero(dtype: str, tier: Any) -> None:
    zeros = np.array([0.0, -0.0], format_of(dtype).dtype)
    for name in ("reciprocal", "log", "log2", "logit"):
        with np.errstate(all="ignore"):
            found = FUNCTIONS[name].grad(zeros, approx=tier).astype(float).tolist()
            product = FUNCTIONS[name].backward(np.ones_like(zeros), zeros, approx=tier).astype(float).tolist()
        expected = [-np.inf, -np.inf] if name == "reciprocal" else [np.inf, -np.inf]
        assert found == expected and product == expected, name


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities_have_their_limits(dtype: str, tier: Any) -> None:
    infinite, one = np.array([np.inf, -np.inf, np.inf], format_of(dtype).dtype), np.ones(3, format_of(dtype).dtype)
    with np.errstate(all="ignore"):
        for name in ("log", "log2", "log1p"):
            product = FUNCTIONS[name].backward(-one[:1], infinite[:1], approx=tier)
            assert product == 0, name
        found = FUNCTIONS["celu"].backward_from_output(one * 3, -one, infinite, approx=tier)
        assert (found.astype(float) == 3.0).all()
        x = np.array([np.nan], format_of(dtype).dtype)
        for form in ("backward", "grad", "grad_alpha_p", "grad_alpha_n", "backward_alpha_p", "backward_alpha_n"):
            door, g = getattr(FUNCTIONS["xielu"], form), [one[:1]] if form.startswith("backward") else []
            assert np.isnan(door(*g, x, 1.0, 2.0, 0.25, -0.5, approx=tier)).all(), form


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_among_the_parameters_is_passed_on(dtype: str, tier: Any) -> None:
    number = format_of(dtype).dtype
    x = np.array([-1.0, 1.0, np.inf], number)
    for name, function in FUNCTIONS.items():
        if name == "threshold":  # it selects its parameter, and its gradient does not hold it
            continue
        usual = {p: 0.25 if v is None else v for p, v in function.parameters.items()}
        learned = [p.name for p in REGISTRY[name].parameters if p.learned]
        doors = [function, function.grad, *(getattr(function, f"grad_{p}") for p in learned)]
        for door in doors:
            for parameter in usual:
                given = {**usual, parameter: np.nan}
                result = door(x, approx=tier, **{p: number.type(v) for p, v in given.items()})
                unused = x > 0 if name in ONE_SIDED else np.zeros(3, bool)
                assert (np.isnan(result) | unused).all(), f"{door}({x}, {parameter}=nan) is {result}"


ONE_SIDED = ("elu", "celu", "leaky_relu", "prelu", "rrelu")
"""Functions of which only one half has a parameter: the other knows nothing of it."""
