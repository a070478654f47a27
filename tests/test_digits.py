"""Pictures of digits: read_digit, --read and --load."""

import io
import struct
import warnings
import zlib

import draw_digits
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras.digits import read_digit
from extras.runs import load_weights, save_weights

FINAL = draw_digits.RESULTS / "double_fc_dropout-seed0.pt"
SEVEN = draw_digits.FOLDER / "7.jpg"


@pytest.fixture(scope="module")
def net():
    net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout()
    load_weights(net, FINAL)
    return net


def sheet(digit, rng):
    """Returns a MNIST image (28, 28) uint8 as a picture of ink on paper: five
    times as large, inverted, shifted, dimmed, on a sheet with a gradient."""
    large = digit.repeat(5, axis=0).repeat(5, axis=1) / 255
    top, left = rng.integers(0, 61, 2)
    ink = np.zeros((200, 200))
    ink[top:top + 140, left:left + 140] = large
    y, x = np.mgrid[0:200, 0:200] / 200
    paper = 200 + 40 * x - 25 * y
    return Image.fromarray((paper - 120 * ink).astype(np.uint8))


def read(picture, path, **options):
    picture.save(path, **options)
    image = read_digit(path)
    assert image.shape == (1, 28, 28) and image.dtype == torch.float32
    assert image.min() >= 0 and image.max() <= 1
    return image


def test_an_image_of_mnist_comes_back(tmp_path, test_data, net):
    """Of 100 images, pixels differ by 0.035 on average, and half of the
    images by less than 0.025."""
    rng = np.random.default_rng(0)
    originals = test_data.data[:100]
    images = torch.stack([
        read(sheet(digit, rng), tmp_path / "digit.png")
        for digit in originals.numpy()])
    before = originals[:, None] / 255
    difference = (images - before).abs().mean(dim=(1, 2, 3))
    assert difference.mean() <= 0.035 and difference.median() <= 0.025
    labels = test_data.targets[:100]
    right = common.predict(net, before) == labels
    again = common.predict(net, images) == labels
    assert (again & right).sum() >= 0.97 * right.sum()


def test_a_thick_digit_may_fill_the_picture(tmp_path, test_data, net):
    """Its strokes then lie at the border, which tells ink from paper."""
    images = []
    for digit in test_data.data[:20]:
        rows, columns = (digit.amax(dim=axis).nonzero() for axis in (1, 0))
        box = digit[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        width = 190 * box.shape[1] // box.shape[0]
        large = Image.fromarray(box.numpy()).resize((width, 190))
        picture = Image.new("L", (200, 200))
        picture.paste(large.filter(ImageFilter.MaxFilter(9)),
                      (100 - width // 2, 5))
        images.append(read(picture, tmp_path / "digit.png"))
    answers = common.predict(net, torch.stack(images))
    assert (answers == test_data.targets[:20]).sum() >= 19


def test_the_ten_drawn_digits(tmp_path, net):
    paths = draw_digits.draw_digits(tmp_path)
    images = torch.stack([read_digit(path) for path in paths])
    assert common.predict(net, images).tolist() == list(range(10))


@pytest.mark.parametrize("digit", draw_digits.KEPT)
def test_the_kept_pictures_are_the_drawn_ones(tmp_path, digit):
    paths = draw_digits.draw_digits(tmp_path)
    drawn, kept = (np.array(Image.open(path), dtype=float) for path in (
        paths[digit], draw_digits.FOLDER / f"{digit}.jpg"))
    assert abs(drawn - kept).mean() < 1


def with_edges(grey):
    """The table shows on all sides."""
    return np.pad(grey, grey.shape[0] // 25, constant_values=60)


def with_white_edges(grey):
    return np.pad(grey, grey.shape[0] // 25, constant_values=255)


def in_half_shadow(grey):
    y, x = np.indices(grey.shape)
    return np.where(x + 0.4 * y > 0.7 * grey.shape[1], grey // 2, grey)


def faint_with_dark_corners(grey):
    y, x = np.indices(grey.shape) / len(grey) - 0.5
    paper = np.median(grey)
    faint = paper + 0.3 * (grey - paper)
    return (faint * (1 - 1.7 * (x * x + y * y))).astype(np.uint8)


def cut_close(grey):
    """The digit touches all four borders."""
    ink = abs(grey - np.median(grey)) > 60
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return grey[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]


@pytest.mark.parametrize("change", [
    with_edges, with_white_edges, in_half_shadow, faint_with_dark_corners,
    cut_close])
def test_careless_pictures(tmp_path, net, change):
    paths = draw_digits.draw_digits(tmp_path)
    images = torch.stack([
        read(Image.fromarray(change(np.array(Image.open(path)))),
             tmp_path / "changed.png") for path in paths])
    answers = common.predict(net, images)
    assert (answers == torch.arange(10)).sum() >= 9


@pytest.fixture
def picture():
    """Returns a seven, grey, chalk on a board."""
    return Image.open(SEVEN)


def test_mass_and_size_are_mnists(picture):
    image = read_digit(SEVEN)[0]
    rows, columns = (image.sum(dim=axis) for axis in (1, 0))
    for mass in rows, columns:
        assert abs((mass @ torch.arange(28.0)) / mass.sum() - 14) <= 0.6
        assert mass.count_nonzero() <= 20
    assert rows.count_nonzero() == 20


@pytest.mark.parametrize("change", [
    lambda p: Image.eval(p, lambda grey: 255 - grey),
    lambda p: p.resize((p.width * 2, p.height * 2)),
    lambda p: p.resize((p.width // 2, p.height // 2)),
    lambda p: p.crop((30, 10, p.width, p.height)),
    lambda p: Image.eval(p, lambda grey: 60 + grey // 3)],
    ids=["polarity", "larger", "smaller", "place", "dim"])
def test_what_does_not_matter(tmp_path, picture, net, change):
    image = read(change(picture), tmp_path / "seven.png")
    assert (image - read_digit(SEVEN)).abs().mean() < 0.03
    assert common.predict(net, image[None]).item() == 7


def test_the_picture_is_turned_as_its_exif_says(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: show it turned clockwise
    image = read(picture.transpose(Image.Transpose.ROTATE_90),
                 tmp_path / "seven.png", exif=exif)
    assert (image - read_digit(SEVEN)).abs().max() < 0.01


def on_transparent(picture, ink):
    """Returns the chalk of the picture, as ink on transparent ground."""
    alpha = Image.eval(picture, lambda grey: 255 if grey > 130 else 0)
    ground = Image.new("RGBA", picture.size, ink)
    ground.putalpha(alpha)
    return ground


@pytest.mark.parametrize("convert", [
    lambda p: p.convert("RGB"), lambda p: p.convert("P"),
    lambda p: p.convert("1"), lambda p: p.convert("LA"),
    lambda p: Image.fromarray(np.array(p).astype(np.uint16) * 200),
    lambda p: on_transparent(p, "white"),
    lambda p: on_transparent(p, "black"),
    lambda p: on_transparent(p, "red")],
    ids=["colour", "palette", "1 bit", "grey and alpha", "16 bit",
         "white on transparent", "black on transparent",
         "red on transparent"])
def test_kinds_of_pictures(tmp_path, picture, net, convert):
    image = read(convert(picture), tmp_path / "seven.png")
    assert common.predict(net, image[None]).item() == 7


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpg", "tif", "webp"])
def test_formats(tmp_path, picture, net, kind):
    image = read(picture.convert("RGB"), tmp_path / f"seven.{kind}")
    assert common.predict(net, image[None]).item() == 7


def test_specks_are_no_part_of_the_digit(tmp_path, picture):
    specks = np.array(picture)
    specks[3:6, 3:6] = specks[-9:-6, 20:23] = specks[60:63, -5:-2] = 255
    image = read(Image.fromarray(specks), tmp_path / "seven.png")
    assert (image - read_digit(SEVEN)).abs().mean() < 0.01


def sketch(*strokes, size=(100, 100), pen=6, ink=0, paper=255):
    """Returns a grey picture (uint8) of strokes, each a list of corners."""
    sheet = Image.new("L", size, paper)
    for stroke in strokes:
        ImageDraw.Draw(sheet).line(stroke, ink, pen, joint="curve")
    return np.array(sheet)


ANGLE = [(25, 15), (75, 15), (45, 90)]
FOUR = [(40, 10), (30, 60)], [(28, 60), (80, 60)], [(62, 25), (62, 92)]
BORDER_SEVEN = [(0, 4), (96, 4), (45, 99)], [(20, 50), (50, 50)]
ZERO = [(50 + 30 * np.cos(turn), 50 + 36 * np.sin(turn))
        for turn in np.linspace(0, 2 * np.pi, 60)]
DASHED = [(25, 15), (48, 15)], [(56, 15), (75, 15), (68, 30)], [
    (63, 40), (56, 56)], [(52, 66), (45, 85)]
FLAG_APART = [(35, 10), (70, 10)], [(32, 18), (30, 45), (60, 42), (70, 60),
                                    (60, 82), (25, 84)]
SKETCHES = {  # the digit, and a picture of it
    "a piece of it is loose, and the rest touches the border": (
        7, sketch(*BORDER_SEVEN)),
    "faint": (7, sketch(ANGLE, ink=247)),
    "thin and faint": (1, sketch([(57, 20), (50, 80)], pen=1, ink=240)),
    "the pen is very thick": (0, sketch(ZERO, pen=34)[8:-8, 12:-12]),
    "a bar is darker": (4, np.minimum(
        sketch(*FOUR, pen=5, ink=220), sketch(FOUR[1], pen=5, ink=150))),
    "a bar is thicker": (2, np.minimum(
        sketch([(75, 110), (65, 70), (85, 30), (120, 22), (155, 65),
                (140, 155), (90, 230), (45, 235)], size=(256, 256), pen=1),
        sketch([(45, 235), (215, 234)], size=(256, 256), pen=4))),
    "dashed": (7, sketch(*DASHED)),
    "a stroke is apart": (5, sketch(*FLAG_APART))}


@pytest.mark.parametrize("kind", SKETCHES)
def test_what_a_person_reads(tmp_path, net, kind):
    digit, array = SKETCHES[kind]
    image = read(Image.fromarray(array), tmp_path / "sketch.png")
    assert common.predict(net, image[None]).item() == digit


def test_several_digits_are_refused(tmp_path):
    row = np.hstack([sketch(*FOUR), sketch(ZERO), sketch(ANGLE),
                     sketch(*FOUR), sketch([(50, 10), (50, 90)])])
    Image.fromarray(row).save(tmp_path / "row.png")
    with pytest.raises(ValueError, match="row.png: it shows 5 digits"):
        read_digit(tmp_path / "row.png")


def with_nan_and_infinity(numbers):
    numbers[5, 5], numbers[30:40, 2], numbers[-1] = np.nan, np.inf, -np.inf
    return numbers


def with_hot_pixels(numbers):
    numbers[0, 0], numbers[7, 9] = 1e38, -1e38
    return numbers


def in_16_bits_with_hot_pixel(numbers):
    numbers = numbers.astype(np.uint16)
    numbers[3, 3] = 65535
    return numbers


@pytest.mark.parametrize("change", [
    with_nan_and_infinity, with_hot_pixels, in_16_bits_with_hot_pixel])
def test_bad_pixels_among_numbers(tmp_path, picture, change):
    numbers = change(np.array(picture, dtype=np.float32))
    with warnings.catch_warnings(action="error"):
        image = read(Image.fromarray(numbers), tmp_path / "seven.tif")
    assert (image - read_digit(SEVEN)).abs().mean() < 0.01


def encode(picture, kind="png", **options):
    """Returns the content of a file of a picture, or of an array."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture.astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, data):
    """Returns a piece of a PNG."""
    return (struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data)))


def test_a_damaged_exif_tag_does_not_matter(tmp_path, picture):
    content, path = encode(picture), tmp_path / "seven.png"
    start = content.index(b"IDAT") - 4
    path.write_bytes(content[:start] + chunk(b"eXIf", b"no tag at all")
                     + content[start:])
    assert (read_digit(path) - read_digit(SEVEN)).abs().max() < 0.01


def bomb(side):
    """Returns a small PNG that claims so many pixels on each side."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
            + chunk(b"IDAT", zlib.compress(bytes(100_000)))
            + chunk(b"IEND", b""))


def with_scans(count):
    """Returns a JPEG that repeats its last scan."""
    content = encode(Image.open(SEVEN), "jpeg", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + (count - 1) * content[last:-2] + content[-2:]


NOISE = np.random.default_rng(0).normal(128, 4, (100, 100))
CORNER = NOISE + 4 * (np.indices((100, 100)).sum(axis=0) == 90)
NO_PICTURE = "not a PNG/.* picture, or it is damaged; save it as JPEG or PNG"
BAD = {
    "no picture": (b"seven", NO_PICTURE),
    "empty": (b"", NO_PICTURE),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", NO_PICTURE),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC.*save .* as JPEG"),
    "truncated": (SEVEN.read_bytes()[:5000], "damaged .*truncated"),
    "damaged": (encode(NOISE)[:2000] + bytes(500) + encode(NOISE)[2500:],
                "damaged"),
    "blank": (encode(np.full((50, 50), 255)), "blank, or too faint"),
    "blank in 16 bits": (encode(Image.new("I;16", (50, 50), 7)), "blank"),
    "no numbers": (encode(Image.new("F", (50, 50), np.nan), "tiff"), "blank"),
    "noise alone": (encode(NOISE), "blank, or too faint"),
    "faint": (encode(CORNER), "blank, or too faint"),
    "wide square": (encode(np.pad(np.full((90, 90), 200), 20)), "blank"),
    "square": (encode(np.pad(np.full((60, 60), 200), 35)), "a blot"),
    "narrow": (encode(NOISE[:8].repeat(9, axis=1)), "900x8 pixels are too f"),
    "small": (encode(NOISE[:7]), "100x7 pixels are too few"),
    "large": (bomb(5000), "5000x5000 pixels are too many.* 20 megapixels"),
    "very large": (bomb(12_000), "12000x12000 pixels are too many"),
    "gigabytes": (bomb(60_000), "far too many pixels"),
    "long": (bytes(30_000_001), "more than 30 megabytes"),
    "scans": (with_scans(50), "more than 30")}


@pytest.mark.parametrize("kind", BAD)
def test_bad_pictures(tmp_path, kind):
    content, complaint = BAD[kind]
    path = tmp_path / "digit.png"
    path.write_bytes(content)
    with warnings.catch_warnings(action="error"):
        with pytest.raises(ValueError, match=f"digit.png: .*{complaint}"):
            read_digit(path)


@pytest.mark.parametrize("error", [SyntaxError, struct.error, IndexError])
def test_whatever_pillow_raises_is_damage(monkeypatch, error):
    def load(picture):
        raise error("bad")
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", load)
    with pytest.raises(ValueError, match=r"7.jpg: it is damaged \(bad\)"):
        read_digit(SEVEN)


def test_no_memory_is_not_the_pictures_fault(monkeypatch):
    def load(picture):
        raise MemoryError
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", load)
    with pytest.raises(MemoryError):
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
    paths = [str(draw_digits.FOLDER / f"{digit}.jpg") for digit in (5, 7)]
    assert script.main(["--read", *paths]) is None
    lines = capsys.readouterr().out.splitlines()
    for line, path, digit in zip(lines, paths, (5, 7), strict=True):
        assert line.startswith(f"{path}: {digit} ({kind} ")
        assert 0.1 < float(line[-6:-1]) <= 1


def test_load_and_read_weights_of_your_own(tmp_path, capsys):
    path = str(tmp_path / "own.pt")
    save_weights(path, convnet.ConvNetSimple())
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


@pytest.mark.parametrize("arguments, complaint", [
    (["--read", "x.png", "--epochs", "3"], "leave out --epochs"),
    (["--read", "x.png", "--seed", "3"], "leave out --seed"),
    (["--read", "x.png", "--test-size", "3"], "leave out --test_size"),
    (["--load", "x.pt", "--save", "y.pt"], "leave out --save"),
    (["--load", "x.pt"], "x.pt"),
    (["--load", str(SEVEN)], "7.jpg is damaged, or does not hold just"),
    (["--load", ""], "there is no readable file"),
    (["--load", "", "--epochs", "1"], "leave out --epochs"),
    (["--load", str(FINAL)], "does not hold the weights of a ConvNetSimple"),
    (["--net", "2dense", "--read", str(SEVEN)], "2dense are published; name"),
    (["--read"], "--read: expected at least one argument")])
def test_bad_flags(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        convnet.main(arguments)
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert complaint in output.err.splitlines()[-1] and output.out == ""
    assert not list(tmp_path.iterdir())
