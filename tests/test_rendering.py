"""Pictures and text: what they show, that pictures keep their size, and that Gymnasium's recorders take them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo, RenderCollection
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.envs.glyphs import put_text, text_width
from bioseq_gym.envs.picture import draw
from bioseq_gym.envs.rendering import render_text
from bioseq_gym.functions.ehrlich import MotifMatch

SIZES: dict[str, Any] = {"V": 8, "L": 10, "c": 2, "k": 3}
IDS = ["Ehrlich-v0", "EhrlichBuild-v0", "EhrlichPropose-v0"]
every = pytest.mark.parametrize("id", IDS)

FOUND, MISSING, WHITE = (0, 114, 178), (213, 94, 0), (255, 255, 255)
Image = NDArray[np.uint8]


def make(id: str = "Ehrlich-v0", **arguments: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(id, render_mode="rgb_array", **arguments)


def frame(env: gymnasium.Env[Any, Any]) -> Image:
    image: Any = env.render()
    assert isinstance(image, np.ndarray)
    return image


def count(image: Image, color: tuple[int, int, int]) -> int:
    return int((image == color).all(axis=-1).sum())


def match(found: list[bool], first: int = 0) -> MotifMatch:
    k = len(found)
    return MotifMatch(first + np.arange(k), np.arange(k), np.array(found))


def picture(
    L: int = 8, V: int = 4, value: float | None = 0.5, matches: list[MotifMatch] | None = None, trace: Any = None
) -> Image:
    return draw(np.arange(L) % V, V, value, 3, matches, trace)


@every
@pytest.mark.parametrize("sizes", [{"L": 16}, {"L": 128, "c": 8, "k": 8}, {"L": 300, "c": 30, "k": 2}], ids=str)
def test_frames_of_an_episode_have_one_even_size_and_change(id: str, sizes: dict[str, int]) -> None:
    env = make(id, **sizes)
    env.reset(seed=0)
    env.action_space.seed(0)
    frames = [frame(env)]
    for _ in range(10):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        frames.append(frame(env))
        if terminated or truncated:
            break
    assert {image.shape for image in frames} == {frames[0].shape}
    height, width, channels = frames[0].shape
    assert (height % 2, width % 2, channels, frames[0].dtype) == (0, 0, 3, np.uint8)
    assert all((one != other).any() for one, other in pairwise(frames))


def test_found_elements_are_blue_and_missing_ones_orange() -> None:
    both, found, missing = ([match(elements)] for elements in ([True, False], [True, True], [False, False]))
    assert count(picture(matches=both), MISSING) > 0
    assert count(picture(matches=found), MISSING) == 0
    blue = [count(picture(matches=m, value=None), FOUND) for m in (missing, both, found)]
    assert blue[0] == 0 < blue[1] < blue[2]


def test_marks_stand_below_what_is_found() -> None:
    plain, marked = (picture(matches=[match([f, f], first=3)], value=None) for f in (False, True))
    rows, columns = np.nonzero((plain != marked).any(axis=-1))
    strip = (rows > 66) & (rows < 100)  # header and bar are above, motifs below
    assert strip.any()
    assert (columns[strip].min(), columns[strip].max()) == (16 + 3 * 20, 16 + 5 * 20 - 2)  # cells 3 and 4, of 20 pixels


def test_the_bar_is_as_long_as_the_value() -> None:
    widths = [count(picture(value=value)[42:54], FOUND) // 12 for value in (0.0, 0.25, 1.0, 1.7, -np.inf)]
    assert widths == [0, 160, 640, 640, 0]


def test_the_curve_shows_each_value_until_the_next() -> None:
    trace = np.full(320, np.nan)
    trace[[0, 100, 200]] = 0.25, 0.75, 0.5
    curve = picture(value=None, trace=trace)[42 : 42 + 72, 16:-16]
    tops = [int((curve[:, x] == FOUND).all(axis=-1).argmax()) for x in (0, 199, 200, 399, 400)]
    assert tops == [54, 54, 18, 18, 36]
    assert count(curve[:, 402:], FOUND) == 0


def test_the_curve_begins_anew_with_an_episode() -> None:
    env = make(L=16, horizon=4)
    env.reset()
    begin = frame(env)
    for _ in range(2):
        env.step((0, env.unwrapped.initial_solution[0]))  # type: ignore[attr-defined]
    assert (frame(env) != begin).any()
    env.reset()
    assert (frame(env) == begin).all()


@every
def test_under_a_budget_no_motif_is_drawn(id: str) -> None:
    env = make(id, L=16)
    env.reset(seed=0)
    shown = frame(env)
    budgeted = EvaluationBudget(env, 10)
    budgeted.reset(seed=0)
    hidden = frame(budgeted)
    assert count(shown, MISSING) > 0
    assert count(hidden, MISSING) == 0
    assert len(hidden) < len(shown)


def test_an_unfinished_sequence_has_empty_places_and_no_value() -> None:
    env = make("EhrlichBuild-v0", L=16)
    env.reset(seed=0)
    env.step(5)
    head = frame(env)[:40, 300:]
    assert count(head, WHITE) == head.shape[0] * head.shape[1]
    for _ in range(15):
        env.step(5)
    assert count(frame(env)[:40, 300:], FOUND) > 0


def test_an_infeasible_sequence_is_said_to_be() -> None:
    image = picture(value=-np.inf)
    assert count(image[:40], MISSING) > 0
    assert count(image[:40], FOUND) == 0


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (-np.inf, "infeasible"),
        (0.5, "value 0.5000"),
        (-9999.0, "value -9999.0000"),
        (1e4, "value 1e+04"),
        (-1234567.0, "value -1.235e+06"),
        (1.7e308, "value 1.7e+308"),
    ],
)
def test_text_and_picture_say_the_value_in_the_same_words(value: float, label: str) -> None:
    tokens = np.zeros(3, int)
    assert render_text(tokens, value, 3, None).splitlines()[0] == f"step 3  {label}"
    blank, header = picture(value=None)[:40], picture(value=value)[:40]
    put_text(blank, 16, 16 + 640 - text_width(label, 2), label.upper(), 2, MISSING if value == -np.inf else FOUND)
    assert (header == blank).all()


@pytest.mark.parametrize(
    ("L", "V", "c", "k"), [(1, 2, 1, 1), (5000, 256, 20, 3), (1000, 32, 1, 900), (300, 4, 300, 1)], ids=str
)
def test_extreme_sizes_are_drawn(L: int, V: int, c: int, k: int) -> None:
    matches = [MotifMatch(np.arange(k), np.arange(k) % V, np.arange(k) % 2 == 0)] * c
    assert picture(L, V, matches=matches).std() > 0


def test_text_is_drawn_pixel_by_pixel() -> None:
    image = np.zeros((7, 9, 3), np.uint8)
    put_text(image, 1, 1, "7.", 1, (9, 9, 9))
    drawn = ["".join(" #"[int(pixel[0] > 0)] for pixel in row).rstrip() for row in image]
    assert drawn == ["", " ###", "   #", "   #", "  #", "  #   #", ""]
    assert text_width("7.", 2) == 14


def test_a_vector_environment_renders_each() -> None:
    envs = gymnasium.make_vec("Ehrlich-v0", num_envs=2, L=16, render_mode="rgb_array")
    single = make(L=16)
    envs.reset(seed=0)
    single.reset(seed=0)
    envs.step([[0, 1], [2, 3]])
    single.step((0, 1))
    frames: Any = envs.render()
    assert isinstance(frames, tuple)
    assert (frames[0] == frame(single)).all()
    assert (frames[0] != frames[1]).any()


def test_frames_are_collected() -> None:
    env = RenderCollection(make(L=16, horizon=3))
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    frames: Any = env.render()
    assert len(frames) == 4
    assert {image.shape for image in frames} == {frames[0].shape}


@every
def test_a_video_is_recorded(id: str, tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="not installed: make setup")
    env = RecordVideo(make(id, L=16), str(tmp_path / "videos"), disable_logger=True)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()
    (video,) = tmp_path.glob("videos/*.mp4")
    assert b"ftyp" in video.read_bytes()[:12]


# Text


def test_ansi_rendering() -> None:
    """As first released, and checked by hand: a letter stands below each element that is found."""
    env = gymnasium.make("Ehrlich-v0", **SIZES, render_mode="ansi")
    x, _ = env.reset(seed=0)
    env.step((0, x[0]))
    assert env.render() == "\n".join(
        [
            "step 1  value 0.2222",
            "motif A: 1/3 of 6 2 [5] at 6 + (0, 2, 3)",
            "motif B: 2/3 of 1 [0] [3] at 4 + (0, 2, 3)",
            "    0 |   0   0   3   0   4   1   0   3   1   5",
            "      |                           B   B       A",
        ]
    )


def test_rendering_of_long_sequences_is_in_lines_of_twenty() -> None:
    env = gymnasium.make("Ehrlich-v0", L=50, render_mode="ansi")
    x, _ = env.reset()
    text = env.render()
    assert isinstance(text, str)
    lines = [line.split("|") for line in text.splitlines() if "|" in line]
    assert [head.strip() for head, _ in lines if head.strip()] == ["0", "20", "40"]
    assert [int(token) for head, tokens in lines if head.strip() for token in tokens.split()] == x.tolist()


def test_more_motifs_than_letters() -> None:
    env = gymnasium.make("Ehrlich-v0", V=4, L=30, c=30, k=1, render_mode="ansi")
    env.reset()
    text = env.render()
    assert isinstance(text, str)
    assert [line.split(":")[0] for line in text.splitlines()[25:31]] == [
        "motif Y",
        "motif Z",
        *(f"motif {c}1" for c in "ABCD"),
    ]


def test_render_without_a_mode_warns_and_gives_none() -> None:
    env = gymnasium.make("Ehrlich-v0", **SIZES).unwrapped
    env.reset()
    with pytest.warns(UserWarning, match="render_mode='ansi'"):
        assert env.render() is None


def test_rendering_under_a_budget_shows_no_motif() -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", **SIZES, render_mode="ansi"), 5)
    env.reset()
    text = env.render()
    assert isinstance(text, str)
    assert text.startswith("step 0  value ")
    assert "motif" not in text
