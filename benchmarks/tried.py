"""What was tried to reach the figures, in words; every sentence tells what was measured, some time ago."""

from __future__ import annotations

SHARED = (
    "Where the threads share a core, or others the memory, runs differ, and what computes gains little by a thread."
)
TRIED = (
    "- float32 `exact` is computed in float64, or in pairs of float32 where a count of operations says that this is "
    "cheaper; pairs won for exponentials, logarithms, sigmoids, erf, gelu and what is made of them, gradients times "
    "a factor included, and lose for squares and tanh.",
    "- What pairs of float32 leave to float64, and other detours, are computed for the register that an element is in, "
    "not for the vector of four registers: all of `exact` that decides on roundings gained, where such elements are "
    "many it lost. Gathered and computed after the others, they were no quicker on average.",
    "- gelu `exact` in float64, as the eighth power of a polynomial on each of 16 or 8 intervals, took longer than in "
    "pairs of float32: what its coefficients load and look up costs more than it spares.",
    "- Whole numbers pushed into the last bits of a float serve as exponents and as places in a table with what pushed "
    "them still on top, which shifts and tables pass by: exponentials gained, those of pairs most.",
    "- Forms that are right on all inputs without a decision about close cases do without one (`settled` in the "
    "declarations). Where results are often exact ties, as for quotients by constants, that is what counts.",
    "- reciprocal by Newton's steps from an integer seed took longer than the division. The processors' own "
    "approximations are out of question: their bits differ between makers.",
    "- Logarithms, exponentials, tanh and erf from tables of 16 entries, which a register or two hold, and short "
    "polynomials, are quicker than long polynomials and quotients in `fast`, and their largest errors are just within "
    "their limits. expm1, elu and selu gained nothing by it in float32, where the sum that keeps them right "
    "next to 0 takes the time; tanh, sigmoid, erf and erfc in float64 left their limits. In float64 logarithms the "
    "registers do not suffice for the tables.",
    "- gelu `fast` as max(x, 0) - y Phi(-y) with 16 pieces; the root of Phi in pieces was quicker still, but not "
    "within the limit.",
    "- Two or eight vectors side by side instead of four: little on average if the best is taken for each kernel, and "
    "no rule found it; softplus and logsigmoid in float32 would gain.",
    "- The first part of the next vector mixed with the second part of this one: quicker where a loop has no detours, "
    "a long chain of operations, and little to keep from one turn to the next (tanh, erf, and softplus, logsigmoid and "
    "mish in `rough`); nothing or worse elsewhere, since registers are few.",
    "- Flags of logarithms are looked into where their kernels look closer anyway: a comparison less.",
    "- Conditions of several registers kept apart, instead of being put together and taken apart, and underflow looked "
    "into after 256 elements first: all that has conditions gained, erfc and the gradient of erf most.",
    "- star_relu, squareplus, softsign, rsqrt and logit in float32 `exact`: what peers do there are one or two "
    "roundings that wait for memory or for the divider, and twice the precision takes several times as many. rsqrt "
    "gained by the processor's root instead of Newton's steps; in float64 `fast` it would by the "
    "processor's approximation, which is out of the question.",
    "- gelu in bfloat16 is right down to the smallest subnormal number, by the eighth root of the normal "
    "distribution's tail on 32 intervals: no shorter way was found that keeps the tail.",
    "- What kernels lack to their limit is waiting for results, and registers: eight vectors or two turns at once need "
    "more of them than there are, and constants and tables are read from memory again.",
    "- Divisions and square roots bound softsign, squareplus, sqrt, hardswish and hardsigmoid in float64, in `rough` "
    "as in `fast`: what is left besides is too little to tell the tiers apart.",
    "- Of 16 bits, results that are selected among inputs and constants are selected as they are stored, 32 to a "
    "register, by where their bits lie; conditions next to computed results gain by that only where bodies are short. "
    "What float16 has left against float32 `fast` are its conversions, which few units do: bodies of a division, a "
    "root or some products wait for them, where float32 waits for memory.",
    "- Gradients of erf and erfc times a factor take it between the halves of a power of two that is held apart, "
    "without a test, and so that nothing underflows.",
    "- Three words of float64 next to the roots of xielu keep its digits; they are computed for whole registers, and "
    "these data have an input near a root in many of them.",
)
