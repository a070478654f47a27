"""Pictures of digits: read_digit, --read and --load."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, features

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras.digits import read_digit
from extras.runs import RESULTS, save_weights

FINAL = RESULTS / "weights" / "double_fc_dropout-seed0.pt"
FOLDER = Path(__file__).parent / "digits"
SEVEN = FOLDER / "7.jpg"  # grey, chalk on a board


@pytest.fixture(scope="module")
def drawn():
    """Ten pictures of the digits from 0 to 9, drawn by a program."""
    return [Image.open(FOLDER / f"{digit}.jpg") for digit in range(10)]


@pytest.fixture
def answer(tmp_path, final_net):
    """Returns a function that reads a picture (PIL, or an array of grey)."""
    def read(picture, kind="png", **options):
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
        picture.save(tmp_path / f"picture.{kind}", **options)
        image = read_digit(tmp_path / f"picture.{kind}")
        assert image.shape == (1, 28, 28) and image.dtype == torch.float32
        assert image.min() >= 0 and image.max() <= 1
        return common.predict(final_net, image[None]).item()
    return read


def test_an_image_of_mnist_comes_back(tmp_path, test_data):
    """Five times as large, as ink on unevenly lit paper."""
    differences = []
    for digit in test_data.data[:30].numpy():
        ink = np.pad(digit.repeat(5, axis=0).repeat(5, axis=1) / 255, 30)
        light = 200 + 40 * np.linspace(0, 1, 200)
        Image.fromarray((light - 120 * ink).astype(np.uint8)).save(
            tmp_path / "digit.png")
        differences.append(abs(read_digit(tmp_path / "digit.png")[0].numpy()
                               - digit / 255).mean())
    assert np.mean(differences) < 0.035 and np.median(differences) < 0.025


def test_mass_and_size_are_mnists():
    image = read_digit(SEVEN)[0]
    rows, columns = (image.sum(dim=axis) for axis in (1, 0))
    for mass in rows, columns:
        assert abs((mass @ torch.arange(28.0)) / mass.sum() - 14) <= 0.6
        assert mass.count_nonzero() <= 20
    assert rows.count_nonzero() == 20


def with_desk_on_all_sides(grey):
    return np.pad(grey, grey.shape[0] // 25, constant_values=60)


def in_half_shadow(grey):
    y, x = np.indices(grey.shape)
    return np.where(x + 0.4 * y > 0.7 * grey.shape[1], grey // 2, grey)


def faint_with_dark_corners(grey):
    y, x = np.indices(grey.shape) / len(grey) - 0.5
    faint = np.median(grey) + 0.3 * (grey - np.median(grey))
    return faint * (1 - 1.7 * (x * x + y * y))


def cut_close(grey):
    ink = abs(grey - np.median(grey)) > 60
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return grey[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]


@pytest.mark.parametrize("change", [
    lambda grey: grey, lambda grey: 255 - grey, with_desk_on_all_sides,
    in_half_shadow, faint_with_dark_corners],
    ids=["as drawn", "inverted", "desk", "shadow", "faint"])
def test_ten_digits(answer, drawn, change):
    answers = [answer(change(np.array(picture, dtype=float)))
               for picture in drawn]
    assert answers == [*range(10)]


def test_a_digit_cut_close(answer, drawn):
    """Its strokes lie at the border, which tells ink from paper; where that
    misleads, as for the 9, the picture is refused."""
    for digit, picture in enumerate(drawn[:9]):
        assert answer(cut_close(np.array(picture))) == digit
    with pytest.raises(ValueError):
        answer(cut_close(np.array(drawn[9])))


def on_transparent(picture, ink):
    ground = Image.new("RGBA", picture.size, ink)
    ground.putalpha(picture.point(lambda grey: 255 * (grey > 130)))
    return ground


@pytest.mark.parametrize("convert", [
    lambda p: p.convert("P"), lambda p: p.convert("1"),
    lambda p: p.convert("LA"),
    lambda p: Image.fromarray(np.array(p).astype(np.uint16) * 200),
    lambda p: on_transparent(p, "white"),
    lambda p: on_transparent(p, "black")],
    ids=["palette", "1 bit", "grey and alpha", "16 bit",
         "white on transparent", "black on transparent"])
def test_kinds_of_pictures(answer, convert):
    assert answer(convert(Image.open(SEVEN))) == 7


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpg", "tif", "webp"])
def test_formats(answer, kind):
    assert answer(Image.open(SEVEN).convert("RGB"), kind) == 7


def test_the_picture_is_turned_as_its_exif_says(answer):
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: show it turned clockwise
    turned = Image.open(SEVEN).transpose(Image.Transpose.ROTATE_90)
    assert answer(turned, exif=exif) == 7


def test_50_megapixels_of_a_phone(answer):
    assert answer(Image.open(SEVEN).resize((8160, 6120)), "jpg") == 7


def sketch(*strokes, size=(100, 100), pen=6, ink=0):
    """Returns a grey picture of strokes, each a list of corners."""
    sheet = Image.new("L", size, 255)
    for stroke in strokes:
        ImageDraw.Draw(sheet).line(stroke, ink, pen, joint="curve")
    return np.array(sheet)


def move(x, y, *strokes):
    return [[(x + a, y + b) for a, b in stroke] for stroke in strokes]


def ring(width, height):
    """Returns a closed stroke around (50, 50)."""
    turns = np.linspace(0, 2 * np.pi, 60)
    return [(50 + width / 2 * np.cos(turn), 50 + height / 2 * np.sin(turn))
            for turn in turns]


ONE = [(50, 15), (50, 90)]
ANGLE = [(25, 15), (75, 15), (45, 90)]
SMALL = [(35, 30), (65, 30), (48, 70)]
FOUR = [(40, 10), (30, 60)], [(28, 60), (80, 60)], [(62, 25), (62, 92)]
BOX = [(15, 15), (85, 15), (85, 85), (15, 85), (15, 15), (20, 15)]
DASHED = [(25, 15), (52, 15)], [(59, 15), (75, 15), (64, 40)], [
    (61, 46), (45, 85)]
FLAG_APART = [(35, 10), (70, 10)], [(32, 18), (30, 45), (60, 42), (70, 60),
                                    (60, 82), (25, 84)]
OPEN_FOUR = [(38, 8), (30, 54), (54, 54)], [(66, 30), (64, 92)]
READ = {  # the digit, and a picture of it
    "faint": (7, sketch(ANGLE, ink=247)),
    "thin and faint": (1, sketch([(57, 20), (50, 80)], pen=1, ink=240)),
    "the pen is very thick": (0, sketch(ring(60, 72), pen=18)),
    "a bar is darker": (4, np.minimum(
        sketch(*FOUR, pen=5, ink=220), sketch(FOUR[1], pen=5, ink=150))),
    "specks": (7, np.minimum(sketch(ANGLE), sketch(
        [(5, 5), (8, 5)], [(90, 60), (93, 60)], pen=3))),
    "a shadow is larger, and weaker": (7, np.minimum(
        sketch(ANGLE, pen=3), sketch([(5, 60), (35, 98)], pen=17, ink=175))),
    "dashed": (7, sketch(*DASHED)),
    "a stroke is apart": (5, sketch(*FLAG_APART)),
    "an open 4 of two strokes": (4, sketch(*OPEN_FOUR)),
    "a narrow 1 fills it": (1, sketch([(8, -5), (4, 67)], size=(13, 62),
                                      pen=8)),
    "in a box": (7, sketch(SMALL, BOX)),
    "small, in a large box": (7, sketch(
        [(86, 84), (114, 84), (97, 117)], [(10, 10), (190, 10), (190, 190),
        (10, 190), (10, 10)], size=(200, 200), pen=4)),
    "in a circle": (7, sketch(SMALL, ring(80, 80)))}


@pytest.mark.parametrize("kind", READ)
def test_what_is_read(answer, kind):
    digit, picture = READ[kind]
    assert answer(picture) == digit


def ruled(grey):
    grey[10::20] = 90
    return grey


STACKED = sketch(*move(0, 0, ANGLE), *move(0, 95, *FOUR), size=(100, 200))
UNEQUAL = sketch(ANGLE, *move(80, 10, SMALL), size=(170, 100))
ROW = np.hstack([sketch(*FOUR), sketch(ANGLE), sketch(ONE)])
PATCH = "a patch, not strokes; crop it to the paper"
REFUSED = {  # why, and a picture
    "blank": ("blank, or too faint", np.full((50, 50), 255)),
    "noise": ("blank, or too faint",
              np.random.default_rng(0).normal(128, 4, (100, 100))),
    "a row": ("several digits", ROW),
    "one above the other": ("several digits", STACKED),
    "of unequal size": ("several digits", UNEQUAL),
    "ruled paper": ("lines .* plain paper", ruled(sketch(ANGLE))),
    "lines that stand": ("lines .* plain paper", ruled(sketch(ANGLE)).T),
    "a square": (PATCH, np.pad(np.full((60, 60), 200), 35)),
    "on a desk": (PATCH, np.pad(sketch(ANGLE), 25, constant_values=40)),
    "on a large desk": (PATCH, np.pad(sketch(SMALL), 90, constant_values=40))}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(answer, kind):
    complaint, picture = REFUSED[kind]
    with pytest.raises(ValueError, match=f"picture.png: .*{complaint}"):
        answer(picture)


@pytest.mark.parametrize("content, complaint", [
    (b"seven", "not a picture, .*save it as JPEG or PNG"),
    (b"", "not a picture"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC; save it as JPEG or PNG"),
    (SEVEN.read_bytes()[:5000], "damaged .*truncated")],
    ids=["text", "empty", "heic", "truncated"])
def test_bad_files(tmp_path, content, complaint):
    path = tmp_path / "digit.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"digit.png: .*{complaint}"):
        read_digit(path)


@pytest.mark.parametrize("kind, block, options", [
    ("png", b"IHDR", {}), ("webp", b"MM\0*", {"exif": b"Exif\0\0MM\0*"}),
    ("avif", b"pitm", {})])
def test_flipped_bits(tmp_path, kind, block, options):
    """In the headers, or in an EXIF block: read, or refused."""
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    path, refusals = tmp_path / f"seven.{kind}", []
    Image.open(SEVEN).save(path, **options)
    whole = path.read_bytes()
    start = whole.index(block)
    for k in range(start, min(start + 40, len(whole))):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 8]) + whole[k + 1:])
        try:
            read_digit(path)
        except ValueError as error:
            refusals.append(str(error))
    assert any("it is damaged" in refusal for refusal in refusals)


def test_far_too_many_pixels(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="7.jpg: make it smaller .*pixels"):
        read_digit(SEVEN)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="seven.png"):
        read_digit(tmp_path / "seven.png")
    with pytest.raises(OSError, match=tmp_path.name):
        read_digit(tmp_path)


# The command line

@pytest.mark.parametrize("script, kind", [
    (convnet, "probability"), (dense, "output")])
def test_read_with_the_published_weights(capsys, script, kind):
    paths = [str(FOLDER / f"{digit}.jpg") for digit in (5, 7)]
    assert script.main(["--read", *paths]) is None
    lines = capsys.readouterr().out.splitlines()
    for line, path, digit in zip(lines, paths, (5, 7), strict=True):
        assert line.startswith(f"{path}: {digit} ({kind} ")
        assert 0.5 < float(line[-6:-1]) <= 1


def test_load_and_read_weights_of_your_own(tmp_path, capsys):
    path = str(tmp_path / "own.pt")
    save_weights(convnet.ConvNetSimple(), path)
    convnet.main(["--load", path, "--read", str(SEVEN)])
    probability = capsys.readouterr().out.split("(probability ")[1]
    assert float(probability[:5]) < 0.5  # nothing was learned yet
    convnet.main(["--net", "final", "--load", str(FINAL),
                  "--test-size", "100"])
    assert capsys.readouterr().out == "Test data results: 1.0\n"


def test_one_bad_picture_among_several(tmp_path, capsys):
    (tmp_path / "bad.png").write_text("seven")
    with pytest.raises(SystemExit) as stop:
        convnet.main(["--read", str(tmp_path / "no.png"), str(SEVEN),
                      "--read", str(tmp_path / "bad.png"), str(SEVEN)])
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert output.out.count(f"{SEVEN}: 7 (") == 2
    missing, damaged = output.err.splitlines()
    assert "no.png" in missing and "bad.png" in damaged
