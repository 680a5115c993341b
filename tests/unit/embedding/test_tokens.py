import pytest

from core.embedding.manifest import TOKENIZER_FILE
from core.embedding.tokens import WindowTokenizer

PREFIX = "passage: "


@pytest.fixture(scope="module")
def tokenizer(model_dir):
    return WindowTokenizer(model_dir / TOKENIZER_FILE, max_tokens=256)


def test_short_texts_are_one_window_with_prefix_and_special_tokens(tokenizer):
    (with_prefix,), (plain,) = tokenizer.windows(["clay"], prefix=PREFIX) + tokenizer.windows(["clay"], prefix="")

    assert plain[0] == with_prefix[0] == 101
    assert plain[-1] == with_prefix[-1] == 102
    assert with_prefix[-2:] == plain[-2:]
    assert len(with_prefix) == len(plain) + 2


def test_every_window_of_a_long_text_has_the_prefix_once(tokenizer):
    windows = tokenizer.windows(["clay kiln " * 1500], prefix=PREFIX)[0]
    head = tokenizer.windows([""], prefix=PREFIX)[0][0][:-1]

    assert len(windows) > 13
    assert all(len(window) <= 256 for window in windows)
    assert all(window[: len(head)] == head for window in windows)
    assert all(window.count(head[1]) == 1 for window in windows)
    assert all(window[-1] == 102 for window in windows)


def test_windows_of_3000_tokens_lose_none(tokenizer):
    words = ["clay", "kiln", "glaze", "wheel", "shard"]
    text = " ".join(words[index % 5] for index in range(3000))
    windows = tokenizer.windows([text], prefix="")[0]
    whole = WindowTokenizer.__new__(WindowTokenizer)
    whole.__dict__.update(tokenizer.__dict__, _max_tokens=10_000)
    expected = whole.windows([text], prefix="")[0][0][1:-1]

    assert set(expected) == {token for window in windows for token in window[1:-1]}
    assert windows[0][1:-1] == expected[:254]
    assert windows[-1][1:-1] == expected[-254:]
