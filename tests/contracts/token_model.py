"""What every model owes that reads the numbers of words; its tests inherit it and say how it is built."""

import pytest
import torch

from autodropout.errors import ShapeError, UsageError


def tokens(n=3, t=6):
    return torch.randint(11, (n, t), generator=torch.Generator().manual_seed(1))


class TokenModelContract:
    """Subclasses build the model, of 11 words, in ``small``."""

    @pytest.mark.parametrize("token", [11, -1])
    def test_refuses_tokens_outside_the_vocabulary(self, token):
        text = tokens()
        text[1, 2] = token
        with pytest.raises(UsageError) as caught:
            self.small()(text)
        assert str(caught.value) == (
            f"tokens are from {text.min()} to {text.max()}; expected 0 to 10, the vocabulary"
        )

    def test_refuses_tokens_that_are_no_whole_numbers(self):
        with pytest.raises(ShapeError) as caught:
            self.small()(tokens().float())
        assert str(caught.value) == "tokens are torch.float32; expected torch.int64, the numbers of words"
        assert torch.equal(self.small()(tokens().int()), self.small()(tokens()))
