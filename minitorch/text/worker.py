"""One of the processes that train word vectors: see `minitorch.text.parallel`, which starts it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from typing import Any

from minitorch.backend.cpu import settings
from minitorch.backend.cpu.word2vec import kernels
from minitorch.creation import from_numpy, tensor
from minitorch.text.encoded import Encoded
from minitorch.text.parallel import LEG, ROUND, Shared, Turns
from minitorch.text.training import Numbered, Schedule, Stretch
from minitorch.text.word2vec import Word2Vec


def main() -> None:
    """Train on the stretches that stdin names; after each write the sums of its pairs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    settings.keep_heap()
    if "compiled" in sys.argv:
        kernels()  # which takes long to import
    line = sys.stdin.readline()
    if not line:  # nobody has anything to do
        return
    about = json.loads(line)
    tables = Shared(*about["tables"]).arrays
    words = Shared(*about["words"]).arrays
    sys.stdin.readline()  # now all of them are filled
    model = _model(about, tables, words["counts"].tolist())
    turns = Turns(tables["clocks"], about["me"]) if about["in_turns"] else None
    corpus = Encoded([], words["counts"], words["tokens"], 0, len(words["tokens"]))
    numbered = Numbered(corpus, words["table"], None)
    trainer = model.trainer(numbered, Schedule(**about["schedule"]), turns)
    trainer.blocks_at_once = about["blocks_at_once"]
    trainer.ahead = False  # the other workers keep the processor busy

    def stretches() -> Iterator[Stretch | None]:
        for line in sys.stdin:
            stretch = json.loads(line)
            yield None if stretch is None else Stretch(*stretch)
            if stretch is None and turns is not None:
                turns.pass_on(LEG)

    for sums in trainer.train(stretches()):
        print(*(number.hex() for number in sums), flush=True)
        if turns is not None:
            turns.pass_on(ROUND)


def _model(about: dict[str, Any], tables: dict[str, Any], counts: list[int]) -> Word2Vec:
    """A model of the same options and counts, whose parameters are the shared tables."""
    model = Word2Vec(**about["options"], min_count=1, sorted_vocab=0, device="cpu", progress=False)
    model.build_vocab_from_freq({str(i): count for i, count in enumerate(counts)})
    for name, parameter in model.model.named_parameters():
        parameter.data = from_numpy(tables[name])
    model.generator.set_state(tensor(about["random"], device="cpu"))
    return model


if __name__ == "__main__":
    main()
