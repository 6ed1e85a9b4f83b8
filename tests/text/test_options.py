"""Options as people give them, and names of gensim 3."""

import numpy as np
import pytest

import minitorch
from minitorch.text.options import class_only, flag, integer, moved, real, renamed

INTEGERS = [5, 5.0, np.int64(5), np.uint8(5), np.float32(5), np.array(5), minitorch.tensor(5)]


@pytest.mark.parametrize("given", INTEGERS, ids=lambda given: f"{type(given).__name__} {given}")
def test_whole_numbers_become_ints(given):
    assert integer("x", given, 5) == 5
    assert type(integer("x", given)) is int
    assert type(real("x", given)) is float


def test_other_numbers():
    assert integer("x", True) == 1
    assert integer("x", None, 1, optional=True) is None
    assert real("x", np.float32(0.5)) == 0.5
    for given in (1, True, np.bool_(True), np.int8(1), 1.0, np.array(1)):
        assert flag("x", given) == 1
        assert type(flag("x", given)) is int


@pytest.mark.parametrize("given", [1.5, "5", None, [5], np.array([5, 6]), float("nan"), 1j, object])
def test_what_is_no_whole_number(given):
    with pytest.raises(ValueError, match="window: expected an integer above 0, got"):
        integer("window", given, 1)
    with pytest.raises(ValueError, match=r"window: expected None or an integer, got 1.5"):
        integer("window", 1.5, optional=True)


@pytest.mark.parametrize("given", ["0.5", None, [0.5], float("inf"), np.float64("nan"), 1j])
def test_what_is_no_number(given):
    with pytest.raises(ValueError, match="alpha: expected a number, got"):
        real("alpha", given)
    with pytest.raises(ValueError, match="sg: expected 0 or 1, got"):
        flag("sg", given)


@moved({"old": "new", "older": "the_oldest"})
class Model:
    """Whose names have changed."""

    @renamed(size="width")
    def __init__(self, width=1):
        self.width = self.new = width

    @class_only
    @classmethod
    def load(cls, width):
        return cls(width)


def test_names_of_once_are_told():
    model = Model(width=3)
    with pytest.raises(TypeError, match=r"__init__: size is width now \(as in gensim 4\)"):
        Model(size=3)
    for name, new in (("old", "new"), ("older", "the_oldest")):
        for holder in (model, Model):
            assert not hasattr(holder, name)
            with pytest.raises(AttributeError, match=rf"Model.{name} is {new} now"):
                getattr(holder, name)
        with pytest.raises(AttributeError, match=rf"Model.{name} is {new} now"):
            setattr(model, name, 3)


def test_load_is_the_class_s():
    assert Model.load(7).width == 7
    with pytest.raises(AttributeError, match=r"Model.load is called on the class, whose new model"):
        Model().load(7)
