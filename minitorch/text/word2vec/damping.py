"""How far a row may move in one step of word vectors: the rule that keeps every step stable.

A step takes the gradients of many pairs at the same tables. A pair of rows x, y with weight w loses
w * log(1 + exp(∓x·y)), whose second derivative along any direction of x is at most w / 4 * |y|².
Summed over all pairs of a row r in the step, wherever r stands in it,

    H(r) = lr * sum of w * |other row|² * c,    c = max(1, (2 R)²),

which is four times a bound of lr * curvature for c = 1. Gradient descent on that row alone cannot
diverge below 8. But the bound counts all directions of the other rows as one. In a text they are
many; among few words, or where all has drifted into one direction, they are one, and the bound is
reached. R in [0, 1] tells: of the rows on the other side of a block |mean|² over the mean of
|row|², the part of their squares that lies along their mean. (Of GCIDE's words it is 0.3 to 0.5,
of twenty words drawn evenly 0.7 to 0.98.) Beyond CURVATURE_LIMIT the pairs of r count less:

    factor(r) = min(1, CURVATURE_LIMIT / H(r)).

Below it a step is the plain sum of gradients. Beyond, its length is that of an implicit (proximal)
step, bounded however often the row comes and however large the rate is (on a GPU, which adds H up
in 64 bits, as far as those go). A pair counts by the lesser factor of its two rows: with one factor
for both sides the step keeps what gradient flow keeps, sum |x|² - sum |y|², where a factor for each
side lets one table grow while the other shrinks.
CURVATURE_LIMIT is from experiments: lower ones cost quality on text at high rates and with many
negatives, higher ones let twenty words overshoot in their first steps.

With words in flight (`hogwild`) a step is a group of words, and the thread blocks at work take such
steps at once, from tables that do not have each other's changes yet. To a row that is one step of
all of them. What its group adds is known; of the others is known how many words they have, n, and
from frequencies e(r), the weight of the pairs that a word of the corpus brings a row on average
(`pairs_in_flight`). Their pairs are taken to be like those at hand, of which the row has the weight
W(r) = sum of w, so that

    H(r) = lr * (S + n e(r) * max(S / W, LEAST_SQUARE)),    S = sum of w * |other row|² * c.

With one block at work n is 0, and H that of above. A row that comes more often at hand than e(r)
says does so elsewhere: chunks that are neighbours in the queue therefore lie apart in the corpus.
LEAST_SQUARE is for rows that are still short: vectors start near zero, where each pair pulls both
of its rows by half of the other, and they grow like exp(lr * weight / 2). S tells nothing of that:
it is as small as they are, and the groups in flight would add what has no bound once they have
grown together. A square of at least that much keeps lr * weight in flight below CURVATURE_LIMIT /
LEAST_SQUARE = 10, which is what a step of 512 words of a text gives its most frequent word at
alpha 0.05. Twenty words that come evenly, 4,096 of which are in flight, have a falling loss with 3,
a growing one with 1, and without n a hundred times that of zeros. In CBOW, where a word has fewer
pairs, half of that does, and costs less quality.

The nodes of a tree (hierarchical softmax) are few at its top, where every pair of a step passes,
and both rows of such a pair come often at once. There a pair counts

    min(1, SOFTMAX_LIMIT / (H(x) + H(node))).
"""

from __future__ import annotations

CURVATURE_LIMIT = 30.0
SOFTMAX_LIMIT = 20.0
LEAST_SQUARE = {"sg": 3.0, "cbow": 1.5}  # of a row that words in flight meet
TINY = 1e-30  # instead of zero, to divide by
