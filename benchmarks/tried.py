"""What was tried to reach the figures, in words, and what the measured rows add to it.

Sentences of trials are in the past: they were measured when they were tried. What is said of kernels as they are comes
from the rows."""

from __future__ import annotations

from collections.abc import Iterable

from summary import Row

TRIED = (
    "- float32 `exact` is computed in float64, or in pairs of float32 where a count of operations says that this is "
    "cheaper.",
    "- What pairs of float32 leave to float64, and other detours, are computed for the register that an element is in, "
    "not for the vector of four registers: all of `exact` that decides on roundings gained, where such elements were "
    "many it lost. Gathered and computed after the others, they were no quicker on average.",
    "- float32 `exact` of tanh as lines that touch it and what these lack, in pairs of float32 with tables of 32 "
    "intervals in registers, took 0.48 of the time of the quotient in float64, and 1.3 times that of PyTorch; "
    "tanhshrink as a cube times such lines 0.5 of the time. The lines alone in two words were 0.05 to 0.1 quicker "
    "where nothing needs a detour, but more did; the curve's first coefficient in two words, too, took as long. With "
    "eight registers at a time the loops gained a tenth and lost it on detours. Going through the elements that need "
    "a detour by the bits of a mask instead of asking part by part lost a tenth. Where AVX2 is all there is, the "
    "tables took twice as long as float64, which is computed instead.",
    "- float32 `exact` of erf as lines with slopes in two words, next to multiples of 1/8, took 0.61 of the time that "
    "polynomials with three coefficients in two words took; gelu with such lines for y exp(y^2/2) Phi(-y), and a "
    "product whose larger word is subtracted from x as it is multiplied, 0.71. What is made is too small by design, "
    "so that one more addition, not two, tells whether a boundary is near. erf adds its curve as it is, which waits "
    "for less: 0.87 of the time of adding it to the slope first, as tanh does, though twice as many elements need a "
    "detour (on [-1, 1], where these are most, 1.06). For gelu, which is limited by the number of its operations, the "
    "slope takes the curve, and polynomials in fewer steps that take a product more gained nothing. Degree 5 instead "
    "of 6 leaves too much to detours.",
    "- tanhshrink `exact` in float64 took 0.46 of the time with a polynomial in two words whose sums know that each "
    "coefficient is larger than all that is added to it: finding that out for each was a third of the operations, and "
    "more of the time, since they wait for one another.",
    "- Elements of small tables of float32 by AVX2, eight of them to a register and selected, instead of one by one "
    "from memory: there tanh and erf `fast` took 0.41 and 0.45 of the time, gelu `fast` 0.54, log `fast` 0.6, exp "
    "`fast` 0.63, and exp, sigmoid and log1p `exact` 0.87 to 0.94, measured on Emerald Rapids without AVX-512.",
    "- gelu `exact` in float64, as the eighth power of a polynomial on each of 16 or 8 intervals, took longer than in "
    "pairs of float32.",
    "- Whole numbers pushed into the last bits of a float serve as exponents and as places in a table with what pushed "
    "them still on top, which shifts and tables pass by: exponentials gained, those of pairs most.",
    "- Forms that are right on all inputs without a decision about close cases do without one (`settled` in the "
    "declarations).",
    "- reciprocal by Newton's steps from an integer seed took longer than the division. From the processors' own "
    "approximations, whose bits differ between makers, with a correction that makes the result the rounded one, it was "
    "1.8 times as fast in float32 and 2.5 times in float64 on a processor that takes 10 and 16 cycles for a division "
    "of 512 bits; sqrt was 1.9 and 2.6 to 3.0 times as fast, rsqrt `fast` in float32 2.0 times, squareplus `fast` 1.5 "
    "and 2.2 times, softsign 1.25 and 1.4 to 1.7 times, gradients of log 1.6 and 2.4 times, and of hardsigmoid 1.3 and "
    "2.0 times. One to three of four registers are left to the divider: mostly, all by multiplications were slower. "
    "silu, tanh and others in float64 `rough`, whose bodies are longer, gained less than a tenth or lost, and divide.",
    "- Logarithms, exponentials, tanh and erf from tables of 16 entries, which a register or two hold, and short "
    "polynomials, were quicker than long polynomials and quotients in `fast`, and their largest errors are just within "
    "their limits. expm1, elu and selu gained nothing by it in float32; tanh, sigmoid, erf and erfc in float64 left "
    "their limits.",
    "- gelu `fast` as max(x, 0) - y Phi(-y) with 16 pieces; the root of Phi in pieces was quicker still, but not "
    "within the limit.",
    "- Two or eight vectors side by side instead of four gained little on average, even with the best taken for each "
    "kernel, and no rule found the best.",
    "- The first part of the next vector mixed with the second part of this one was quicker where a loop has no "
    "detours, a long chain of operations, and little to keep from one turn to the next (tanh, erf, and softplus, "
    "logsigmoid and mish in `rough`); elsewhere it gained nothing or lost.",
    "- Flags of logarithms are looked into where their kernels look closer anyway: a comparison less.",
    "- Conditions of several registers kept apart, instead of being put together and taken apart, and underflow looked "
    "into after 256 elements first: all that has conditions gained, erfc and the gradient of erf most.",
    "- Logarithms `exact` in float32 with f - f^2/2 not in full, but the error of f^2 granted by itself, and with n as "
    "it is stored: on Emerald Rapids log took 0.73 of the time, log2 0.72, log1p 0.75, logit, which was in float64, "
    "0.56; with AVX2 alone 0.86 to 0.93. Arguments between 0.98 and 1.02, for log1p from 0.005 to 0.02, which are now "
    "left to float64 more often, take 1.7 times as long as before, those of logit next to 1/2 1.1 times.",
    "- Whether the largest of four registers' sizes is beyond a limit is found by AVX-512's instruction for the "
    "larger of two sizes, from which a signalling NaN hides an infinity that it is compared with, but not itself: so "
    "of pairs of registers only, and by integers from there on. On Emerald Rapids exp and silu `fast` took 0.94 of "
    "the time, sigmoid `fast` 0.97. Where NaN counts as beyond the limit a quiet one would be hidden, too: there "
    "nothing changed.",
    "- float32 `exact` of exponentials on Emerald Rapids: with what calls for a detour put together over the "
    "registers before it is looked at, with elements of tables multiplied by powers of two in one instruction instead"
    " of a shift and a sum, and exp and exp2 falling short on one side of what is granted, exp took 0.90 of the time,"
    " exp2 0.89, sigmoid and silu 0.96, mish 0.97; gradients of sigmoid and tanh, whose e/(1 + e)^2 is no product of "
    "pairs any more, 0.94 and 0.88. gelu, quick_gelu and the gradient of silu, which have more to do besides, gained "
    "1% or nothing. Another order of the instructions, as LLVM has several, made no difference. Without the second "
    "word of the sum of 1 and the exponential, which the quotient's rest does not need, silu took another 0.99 of the "
    "time, quick_gelu 0.98, with AVX2 alone silu 0.945; where 1 is divided, as in sigmoid, 1.007, and 1.02 with AVX2: "
    "there it stays.",
    "- float32 `exact` of log2 adds its line in one fused operation, whose rounding another one tells: 0.88 of the "
    "time on Emerald Rapids, 0.95 with AVX2 alone.",
    "- float32 `exact` of tanhshrink: y - tanh y itself by lines from 1.6 on, instead of its quotient by y^3, left a "
    "tenth as many elements to float64 and took 0.70 of the time on Emerald Rapids. Where few centres have both value "
    "and slope next to floats, one outside the interval is better: a third fewer are left. Its gradient as the square "
    "of the lines of tanh, in words, took 0.62 of the time times a factor, 0.58 without. With AVX2 alone both are "
    "computed in float64, as before.",
    "- Products of pairs of float32 with one word as differences, which have the sign of a 0 at once, and with both "
    "limits of their size in one comparison: on Emerald Rapids exp times a factor took 0.87 of the time, the gradients "
    "of logsigmoid, tanh and sigmoid 0.94, 0.95 and 0.96, those of silu and gelu 0.98.",
    "- What did not help `exact` in float32: the operations of a graph by the longest chain that waits for them took "
    "0.995 of the time on average, from 0.95 to 1.04, by their depth 1.00, from 0.95 to 1.07; tables loaded again "
    "for each register instead of copied made tanh and gelu take 1.06 and 1.09, tanhshrink 0.95; registers that need a "
    "detour by the bits of a mask 1.01 to 1.02. logit without a division, sigmoid's gradient as s (1 - s), and lines "
    "for gradients that fall like an exponential were counted: they take as many operations, or leave too much to "
    "float64.",
    "- float64 `fast`: exp2 by sixteenths of octaves, whose rest is exact, took 0.8 of the time by Horner's rule, 0.85 "
    "with its terms by pairs; 1.18 where AVX2 is all there is. erf by one of sixteen polynomials of degree 12 instead "
    "of two of degrees 27 and 34 took 0.67, on intervals so wide that its values at the first four centres are next to "
    "floats: else it is off by up to 1.96 ULP, so by 1.5. With AVX2 alone it took 1.2 of the time where elements "
    "were loaded one by one; with two tables laid together in memory, of which one load reads both, 0.83, and erfc "
    "0.87, gelu 0.84, erf `exact` 0.86.",
    "- Helpers of large calls were judged by the least time ever measured, and left alone for up to 63 calls: where "
    "something else ran for a while, calls of tens of milliseconds stayed on one thread long after. Judged by the "
    "pieces' processor time within the same call, they rest 30 times as long as they kept it. By the time of the clock "
    "instead calls of 0.6 ms took 1.6 times as long as on one thread where other processes kept both cores busy, by "
    "that of the processor 1.1: helpers on the caller's core slow its pieces.",
    "- Calls of functions of numbers like earlier ones, looked at by a compiled function instead of Python: of 16 "
    "elements they took 0.58 to 0.60 of the time, with parameters 0.32; of 65,536 elements what is bound by memory "
    "took 0.81 to 0.94.",
    "- Gates `exact` in float64 selected everywhere what infinities and zeros call for; on a detour instead, glu took "
    "0.47 of the time, swiglu 0.49, gradients of glu 0.49, of swiglu 0.57, mishglu 0.63, geglu 0.79. Gradients of glu "
    "with one exponential instead of two took 0.83 of the time in float32 `fast`, 0.84 to 0.86 in `exact`, 0.75 in "
    "float64 `fast`. Gradients of geglu_tanh `fast`, in which products of what roundings left were subnormal below "
    "-9.3, took 0.48 of the time with small values lifted.",
    "- Gradients times a number in words of float32, as quotients and products with their errors: reciprocal 0.32 of "
    "the time, rsqrt 0.38, relu_squared 0.41, log2 0.45, hardswish 0.49, log1p 0.51, logit 0.56, softsign 0.59, "
    "star_relu 0.66, sqrt 0.71, sparse_plus 0.75.",
    "- Nine passes of LLVM instead of all of its third level left the same instructions in the loops (83,177 with "
    "vectors instead of 83,104 in those of 198 kernels, with AVX2 103,678 instead of 103,681) and took 0.3 of the "
    "time. Constants of vectors written once made building the code for them take 0.55. Compiling everything takes 206 "
    "seconds, and took 297. Loops of rows whose stack did not begin at a line of memory took up to 1.6 times as long, "
    "which one it was being left to chance; now it does.",
    "- What takes a few operations waits for memory in either dtype and in every tier: relu, relu6, relu_squared, "
    "hardtanh, hardshrink, softshrink, leaky_relu, prelu, rrelu, threshold, jump_relu, hardsigmoid, hardswish, "
    "sparse_sigmoid, sparse_plus, bilinear and reglu, besides star_relu `fast`. What was tried with them is fewer "
    "instructions, results from the first line of memory on, arguments asked for early, results past the caches, and "
    "calls without Python.",
    "- softmin and logsumexp are bound by exp, geglu by gelu, swiglu_oai by quick_gelu: what was tried with "
    "these goes for them.",
    "- rsqrt `exact` in float32 gained by the processor's root instead of Newton's steps.",
    "- gelu in bfloat16 is right down to the smallest subnormal number, by a root of the normal distribution's tail on "
    "32 intervals.",
    "- What bounds 16 bits on Emerald Rapids are the pipes, nine tenths of which are in use if conversions are counted "
    "as what they are: two operations to or from a register of float16, four and two more to round two registers to "
    "bfloat16 and to put them in order. Storing float16 rounds it by one operation less: 0.92 to 0.97 of the time, "
    "but 1.06 to 1.13 in bodies of up to 15 operations, which keep the other way. An addition to the bits, a shift and "
    "a choice round two registers to bfloat16 with ties away from zero: 0.75 to 0.95 of the time, 0.5 to 0.85 with "
    "AVX2.",
    "- Exponentials of 16 bits as 2^t by AVX-512's instruction for products with powers of two: exp took 0.95 of the "
    "time in float16 and 0.87 in bfloat16, silu, sigmoid and mish 0.97 and 0.91 to 0.96. With the one for "
    "t - floor(t), too, it was 0.76 and 0.68, and 0.8 to 0.87, but that rounds down what it leaves of numbers between "
    "-1/2 and 0, which other processors do not. To round t to nearest instead, of which what is left is exact, has yet "
    "to be tried. "
    "Without a lower limit, which costs an operation, numbers below -87 took 24 times as long. With AVX2 alone, where "
    "rounding down is two operations, they take 1.05 to 1.09 of the time in float16, and 0.7 to 0.8 in bfloat16. "
    "`rough` is `fast` with polynomials of degree 3 now: 0.75 to 0.85 of the time.",
    "- gelu `fast` in 16 bits by polynomials on intervals that only have to lead to the right results, which linear "
    "programs find: of degree 3 and squared in float16, of degree 2 and to the power of 16 in bfloat16, instead of 4 "
    "and 4. It took 0.80 and 0.67 of the time. Degree 2 in float16, a power of 8 or degree 3 and a power of 2 in "
    "bfloat16 have no solution.",
    "- silu in 16 bits waits for the divider. Quotients by an approximation and three operations, two units of float32 "
    "off at the most, would be rounded otherwise for 6 of the numbers of float16 and 2 of bfloat16; quotients with all "
    "bits take as many operations as would be gained, and a polynomial for 1/(1 + u) of degree 5 to 7 more.",
    "- Of 16 bits, results that are selected among inputs and constants are selected as they are stored, 32 to a "
    "register, by where their bits lie; conditions next to computed results gained by that only in short bodies.",
    "- Of 16 bits `exact`, all inputs of functions of one number were tried: most need no decision of close cases in "
    "float32, or none but for up to 8 inputs that are named. 125 values and gradients took 0.66 of the time (geometric "
    "mean) on Emerald Rapids, sparse_sigmoid and hardsigmoid in float16 0.26 and 0.31, log 0.40, rsqrt and tanh 0.47.",
    "- Products, quotients and roots with subnormal numbers or of that size, and sums that are such numbers, cost "
    "Emerald Rapids 100 cycles each; results below 2^-161 of float32, conversions, comparisons and integers nothing. "
    "Subnormal results as differences of bits: erfc `fast` and `rough` in float32 took 0.22 and 0.16 of the time on "
    "[-10, 10], gradients of erf and erfc 0.13 to 0.17, their products 0.20 to 0.22; erfc `exact` in float16 0.14. "
    "Limits of exponentials are so chosen that what is beyond them is 0 or below 2^-161 on the way, too: on "
    "[-1000, -110] exp, sigmoid, silu and mish `fast` in bfloat16 took 0.10 to 0.14 of the time.",
    "- Gradients of erf and erfc times a factor take it between the halves of a power of two that is held apart, "
    "without a test, and so that nothing underflows.",
    "- xielu in `fast` and `rough` left every register to wider arithmetic in which terms cancelled, which most do; "
    "now it is an exponential in two parts minus a line in two words, which few elements next to the root leave. Three "
    "words of float64 keep the digits next to it.",
    "- Parameters that are single numbers were copied to blocks full of them. A loop of their own, before which what "
    "follows from them alone is computed, made float32 rrelu 2.5 to 2.8 times as fast, hardtanh 1.5 times, leaky_relu, "
    "prelu and threshold 1.3 times, hardshrink, jump_relu and star_relu `exact` 1.1 to 1.2 times, and xielu, in which "
    "much follows from them, 2 to 3.3 times; elu, softshrink and squareplus gained less than a tenth. Long kernels in "
    "which little follows from them have no such loop.",
    "- Longer rows of float32 and 16 bits are computed 2 to 8 together, as many as 16 KB hold, and what follows from "
    "their totals of all of these at once: the gradients of layer_norm gained 1.25 times, log_softmax 1.07 times, "
    "others up to 1.05 times. float64 lost by it, up to 1.2 times, and has one row after the other. Asking for "
    "elements of a later row gained where one array is read, and lost where two are. layer_norm, which did not ask, "
    "took 0.93 of the time in float64, and 1.04 in float32, where it still does not.",
    "- Of rows side by side, as batch_norm has them, the first and the last, which do not begin at lines of memory, "
    "were computed as strips of their own, down all the rows; now they go along with the others. With numbers of the "
    "row read as vectors where they are neighbours, and their roots partly without the divider, the loop of batch_norm "
    "`fast` took 0.8 to 0.9 of the time for 64 rows of 1,024 in float32, and 0.86 in float64.",
    "- Rows of results that begin within a line of memory were written across two lines each. Written from the first "
    "line on where that takes longer than computing, on Emerald Rapids rms_norm `fast` of 64 rows of 1,024 took 0.62 "
    "to 0.69 of the time in float32 and in float64, layer_norm 0.72, gradients of softmax 0.65 to 0.72, and batch_norm "
    "in float64 0.62; with AVX2 alone as much. Rows shorter than 256, and what is computed in float64 from float32, "
    "gained nothing or lost.",
    "- float32 `exact` of layer_norm took 0.8 of the time, and its gradients and rms_norm 0.84 to 0.94, with squares, "
    "which float64 holds without rounding, multiplied and added in one, with weights widened for four rows at once, or "
    "for two with gradients, and with halves of registers written without being joined. Such rows written from the "
    "first line of memory on made rms_norm take 0.8 of that, layer_norm 0.96.",
    "- Lines of results asked for while a row is added up made rms_norm take half as long again. What is kept of a row "
    "of softmax read where its lines begin, instead of results written so, made `exact` take 0.97 and `fast` 1.2 times "
    "as long.",
    "- Plans of calls of rows found at once by tier, dtype and shape: two rows of 8 took 0.6 to 0.8 of the time, gates "
    "0.75. With a compiled function that takes the arguments to the loop, two rows of 8 took 0.2 to 0.3 of that: calls "
    "of batch_norm took 5 microseconds before the loop began and take 1, those of rms_norm 3.5 and softmax 2.9, of "
    "gradients of norms 8 to 12 and take 3.",
    "- Sums of a batch of rows are finished together, with lanes for rows that the batch lacks. What lay about on the "
    "stack stood there, mostly addresses, which are subnormal as numbers and take the processor long: with 0 there, "
    "gradients of layer_norm took 0.8 of the time on Emerald Rapids whenever that was so, layer_norm 0.89.",
    "- Squares of rms_norm added up in float32, four of them before the sum is widened, took 16 to 21% less in a "
    "trial of the loop alone, without the second run that rows at the ends of the range would need.",
    "- Whether any element needs a detour was asked by comparing each register, which takes twice as long as the "
    "plainest instructions, and by putting the outcomes together. Now the largest or smallest of the registers is "
    "compared: rsqrt in float64 `fast` took half the time, in float32 `rough` 0.6 times, logit 0.7 to 0.8 times, "
    "exponentials and sigmoid up to a tenth less.",
    "- Clips were comparisons and selections where constants had been moved into them: hardsigmoid takes 23 "
    "instructions instead of 27, hardswish 27 instead of 31. Fewer comparisons made softshrink 27 instead of 51, "
    "hardshrink 23 instead of 43, sparse_plus 31 instead of 43: they keep up with relu.",
    "- On Intel's Emerald Rapids results that straddle two lines of memory took relu 1.7 times as long (0.19 ns "
    "instead of 0.11 for each of 65,536 elements, in arrays as NumPy makes them); now all but the first vectors begin "
    "at lines.",
    "- Results of 64 MB and more are written past the caches, there with twice the bandwidth: on 2^26 elements and "
    "both cores, relu took 0.47 ns in the report before and 0.23 since, exp 0.36 and 0.24. Asking for arguments 4 KB "
    "ahead is part of it: without that exp took 0.30. Of 32 MB nothing was gained, and what reads the results next "
    "lost. Going through a block on the stack took 0.30, too.",
    "- There, short loops that ask for their arguments in the second cache instead of the first took 0.9 of the time "
    "(relu 0.22 to 0.20 ns), exponentials 0.95 to 1, and mish 1.03: only short ones do. Four pages by turns, as large "
    "copies are made, gained 6% for relu if the page changed with every vector, whose numbers then cost 2 to 4% in "
    "the caches and 40% where the parts of a body overlap; with every fourth vector it gained nothing, and mish took "
    "1.12 times as long.",
    "- float32 `exact` in words of float32, with what operations leave as second words, instead of float64 or of "
    "pairs and all that these look after, where results are few sums, products and quotients: on Emerald Rapids the "
    "gradient of sqrt from the output was 6.4 times as fast, that of tanh 1.9 times, star_relu 1.8 times, squareplus "
    "1.7 times, gradients of rsqrt 1.8 and of hardswish 1.5 times, softsign, sparse_plus and hardswish 1.3 times, "
    "hardsigmoid, which waits for memory now, 1.2 times. With AVX2 alone star_relu and squareplus gained 2.5 times, "
    "hardswish and sparse_plus less than a tenth. Without a decision about close cases hardsigmoid and the gradient "
    "of hardswish are right everywhere; sparse_plus would be wrong for 6 numbers, softsign for 34, hardswish for "
    "1,709.",
    "- Slopes made of two usual parameters, whose mean a word holds, are one constant: rrelu `exact` was 1.9 times as "
    "fast in float32, its gradient 1.5 times.",
)
LONG = ("star_relu", "squareplus", "softsign", "rsqrt", "logit")
"""Functions that take peers a few operations, and twice the precision many."""


def lines(rows: list[Row]) -> list[str]:
    """All that is said of trials, with what the rows show of the kernels as they are."""
    return [*TRIED, *_dividing(rows), *_long(rows), *_in_doubles(rows)]


def _values(rows: Iterable[Row], dtype: str) -> dict[str, Row]:
    return {row["function"]: row["floor"] for row in rows if (row["dtype"], row["form"]) == (dtype, "value")}


def _dividing(rows: list[Row]) -> list[str]:
    """Functions of which divisions or roots set the limit of every tier: rough can be no quicker."""
    found = []
    for dtype in ("float32", "float64"):
        names = [
            name
            for name, floor in _values(rows, dtype).items()
            if all(floor[tier]["by"] == "divider" for tier in ("fast", "rough"))
        ]
        found += [f"{', '.join(names)} in {dtype}"] if names else []
    said = "- Divisions and square roots set the limit of `fast` and of `rough` alike for "
    return [f"{said}{' and '.join(found)}: there the tiers can hardly differ."] if found else []


def _long(rows: list[Row]) -> list[str]:
    """How many instructions twice the precision takes where peers need few."""
    floors = _values(rows, "float32")
    counted = [
        f"{name} {floors[name]['fast']['instructions']} and {floors[name]['exact']['instructions']}"
        for name in LONG
        if name in floors
    ]
    said = (
        "- Where a function takes a few operations, as peers compute it, twice the precision takes several times as "
        "many. Instructions of the loops of float32 `fast` and `exact`: "
    )
    return [f"{said}{', '.join(counted)}."] if counted else []


def _in_doubles(rows: list[Row]) -> list[str]:
    """Which values of float32 exact are computed in float64."""
    floors = _values(rows, "float32")
    if any("doubles" not in floor["exact"] for floor in floors.values()):
        return []
    names = [name for name, floor in floors.items() if floor["exact"]["doubles"]]
    return [f"- Values of float32 `exact` in whose loops there is arithmetic in float64: {', '.join(names)}."]
