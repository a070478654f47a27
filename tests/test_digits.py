"""Pictures of digits: read_digit, --read and --load."""

import struct
import warnings
import zlib

import digits
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense

FINAL = common.RESULTS / "double_fc_dropout-seed0.pt"
SEVEN = digits.FOLDER / "7.jpg"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Reads with one thread: a picture is too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def net():
    net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout()
    common.load_weights(net, FINAL)
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
    image = common.read_digit(path)
    assert image.shape == (1, 28, 28) and image.dtype == torch.float32
    assert image.min() >= 0 and image.max() <= 1
    return image


def test_an_image_of_mnist_comes_back(tmp_path, test_data, net):
    """Of 200 images, pixels differ by 0.035 on average, and half of the
    images by less than 0.025."""
    rng = np.random.default_rng(0)
    originals = test_data.data[:200]
    images = torch.stack([
        read(sheet(digit, rng), tmp_path / "digit.png")
        for digit in originals.numpy()])
    before = originals[:, None] / 255
    difference = (images - before).abs().mean(dim=(1, 2, 3))
    assert difference.mean() <= 0.035 and difference.median() <= 0.025
    labels = test_data.targets[:200]
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
    paths = digits.draw_digits(tmp_path)
    images = torch.stack([common.read_digit(path) for path in paths])
    assert common.predict(net, images).tolist() == list(range(10))


@pytest.mark.parametrize("digit", digits.KEPT)
def test_the_kept_pictures_are_the_drawn_ones(tmp_path, digit):
    drawn, kept = (np.array(Image.open(path), dtype=float) for path in (
        digits.draw_digits(tmp_path)[digit], digits.FOLDER / f"{digit}.jpg"))
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
    paths = digits.draw_digits(tmp_path)
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
    image = common.read_digit(SEVEN)[0]
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
    assert (image - common.read_digit(SEVEN)).abs().mean() < 0.03
    assert common.predict(net, image[None]).item() == 7


def test_the_picture_is_turned_as_its_exif_says(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: show it turned clockwise
    image = read(picture.transpose(Image.Transpose.ROTATE_90),
                 tmp_path / "seven.png", exif=exif)
    assert (image - common.read_digit(SEVEN)).abs().max() < 0.01


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


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpg", "tif", "webp", "ppm"])
def test_formats(tmp_path, picture, net, kind):
    image = read(picture.convert("RGB"), tmp_path / f"seven.{kind}")
    assert common.predict(net, image[None]).item() == 7


def test_specks_are_no_part_of_the_digit(tmp_path, picture):
    specks = np.array(picture)
    specks[3:6, 3:6] = specks[-9:-6, 20:23] = specks[60:63, -5:-2] = 255
    image = read(Image.fromarray(specks), tmp_path / "seven.png")
    assert (image - common.read_digit(SEVEN)).abs().mean() < 0.01


def bomb(side):
    """Returns a small PNG that claims so many pixels on each side."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
            + chunk(b"IDAT", zlib.compress(bytes(100_000)))
            + chunk(b"IEND", b""))


def png(array):
    path = digits.tempfile.SpooledTemporaryFile()
    Image.fromarray(array.astype(np.uint8)).save(path, "png")
    path.seek(0)
    return path.read()


NOISE = np.random.default_rng(0).normal(128, 4, (100, 100))
CORNER = NOISE + 4 * (np.indices((100, 100)).sum(axis=0) == 90)
BAD = {
    "no picture": (b"seven", "cannot identify"),
    "empty": (b"", "cannot identify"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "cannot identify"),
    "truncated": (SEVEN.read_bytes()[:5000], "truncated"),
    "damaged": (png(NOISE)[:2000] + bytes(500) + png(NOISE)[2500:], ""),
    "blank": (png(np.full((50, 50), 255)), "blank"),
    "noise alone": (png(NOISE), "blank, or has too little contrast"),
    "faint": (png(CORNER), "blank, or has too little contrast"),
    "wide square": (png(np.pad(np.full((90, 90), 200), 20)), "blank"),
    "square": (png(np.pad(np.full((60, 60), 200), 35)), "shows no digit"),
    "narrow": (png(NOISE[:8].repeat(9, axis=1)), "900x8 pixels are too few"),
    "small": (png(NOISE[:7]), "100x7 pixels are too few"),
    "huge": (bomb(8000), "8000x8000 pixels are too many"),
    "gigabytes": (bomb(60_000), "3600000000 pixels")}


@pytest.mark.parametrize("kind", BAD)
def test_bad_pictures(tmp_path, kind):
    content, complaint = BAD[kind]
    path = tmp_path / "digit.png"
    path.write_bytes(content)
    with warnings.catch_warnings(action="error"):
        with pytest.raises(ValueError, match="digit.png is not a PNG/JPEG/.* "
                           f"picture of a digit: .*{complaint}"):
            common.read_digit(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="readable file .*seven.png"):
        common.read_digit(tmp_path / "seven.png")
    with pytest.raises(FileNotFoundError, match="no readable file"):
        common.read_digit(tmp_path)
    with pytest.raises(FileNotFoundError, match="no readable file .*seven.pt"):
        common.load_weights(dense.Net(), tmp_path / "seven.pt")
    with pytest.raises(FileNotFoundError, match="no readable file .*7.json"):
        common.read_record(tmp_path / "7.json")


def test_weights_of_another_net_change_nothing():
    net = convnet.ConvNetTwoConvTwoDenseLayers()
    before = net.conv1.weight.clone()
    with pytest.raises(ValueError, match="dbl_conv-seed0.pt does not hold"):
        common.load_weights(net, common.RESULTS / "dbl_conv-seed0.pt")
    assert torch.equal(net.conv1.weight, before)


def test_reading_leaves_no_trace(net):
    state = torch.get_rng_state()
    common.read_digit(str(SEVEN))
    assert torch.equal(torch.get_rng_state(), state)


# The command line

@pytest.mark.parametrize("script", [convnet, dense])
def test_read_with_the_published_weights(capsys, script):
    paths = [str(digits.FOLDER / f"{digit}.jpg") for digit in (5, 7)]
    with pytest.raises(SystemExit) as stop:
        script.main(["--read", *paths])
    assert not stop.value.code
    lines = capsys.readouterr().out.splitlines()
    for line, path, digit in zip(lines, paths, (5, 7), strict=True):
        assert line.startswith(f"{path}: {digit} (")
        assert 0.1 < float(line[-6:-1]) <= 1


def test_load_and_read_weights_of_your_own(tmp_path, capsys):
    path = str(tmp_path / "own.pt")
    common.save(path, convnet.ConvNetSimple().state_dict())
    with pytest.raises(SystemExit) as stop:
        convnet.main(["--load", path, "--read", str(SEVEN)])
    assert not stop.value.code
    probability = capsys.readouterr().out.split("(")[1]
    assert float(probability[:5]) < 0.5  # nothing was learned yet
    with pytest.raises(SystemExit) as stop:
        convnet.main(["--net", "final", "--load", str(FINAL),
                      "--test-size", "100"])
    assert not stop.value.code
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
    (["--load", "x.pt", "--save", "y.pt"], "leave out --save"),
    (["--load", "x.pt"], "x.pt"),
    (["--load", str(SEVEN)], "does not hold the weights of a ConvNetSimple"),
    (["--load", str(FINAL)], "does not hold the weights of a ConvNetSimple"),
    (["--net", "2dense", "--read", str(SEVEN)], "2dense are published; name"),
    (["--read"], "--read: expected at least one argument")])
def test_bad_flags(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        convnet.main(arguments)
    assert stop.value.code == 2
    output = capsys.readouterr()
    line, = output.err.splitlines()
    assert complaint in line and output.out == ""
    assert not list(tmp_path.iterdir())
