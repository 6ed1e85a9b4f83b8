"""How far a row may move in one step of word vectors: the rule that keeps every step stable.

A step takes the gradients of many pairs at one place. A pair of rows x, y with weight w loses
w * log(1 + exp(∓x·y)), whose second derivative is at most w / 4 * |y|² along any direction of x.
Summed over all pairs of a row r within the step (wherever r stands in it),

    H(r) = lr * sum of w * |other row|²

is four times a bound of lr * curvature: gradient descent on that row alone converges below 8 and
cannot diverge before; while directions of the other rows differ, as those of a text do, the true
curvature is a fraction of the bound. Beyond CURVATURE_LIMIT the pairs of r count less:

    factor(r) = min(1, CURVATURE_LIMIT / H(r)),

so that the step is the implicit (proximal) one's length there, however often the row comes, and a
plain sum below. A pair counts by the lesser factor of its two rows. With one factor for both sides
the step keeps what gradient flow keeps, sum |x|² - sum |y|²; a factor for each side alone lets one
table grow while the other shrinks.
"""

from __future__ import annotations

CURVATURE_LIMIT = 20.0
