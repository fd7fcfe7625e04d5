"""A disagreement as one HTML page without any link to the network."""

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from segdeploy.arrays import Image
from segdeploy.card import LabelClass
from segdeploy.imaging.overlay import Painter
from segdeploy.imaging.preprocess import resize
from segdeploy.metrics.comparison import Disagreement, Shown, heat_of, paint_heat

WIDTH = 480
"""Width of an image on the page at most, in pixels."""

PAIRS = 10
"""How many exchanges of two classes are listed."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head><body><main>
{body}
</main></body></html>
"""

STYLE = """
:root { color-scheme: light dark; --page: #f6f6f4; --card: #fff; --ink: #17191d; --soft: #646a75; --line: #e4e5e3; --hot: #d2562b; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0e1014; --card: #16191f; --ink: #eceef2; --soft: #9aa2b1; --line: #2a2f38; --hot: #ff8a61; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 1120px; margin: 0 auto; padding: 48px 24px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 8px; }
h2 { font-size: 17px; margin: 36px 0 6px; }
p { margin: 0 0 12px; color: var(--soft); }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
th, td { padding: 6px 12px; border-top: 1px solid var(--line); text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 500; }
.bar { display: inline-block; height: 9px; background: var(--hot); border-radius: 2px; }
.dot { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin-right: 8px; }
.scroll { overflow-x: auto; }
.four { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 8px; }
.map { max-width: 480px; }
figure { margin: 0 0 20px; }
figcaption { color: var(--soft); font-size: 14px; margin: 4px 0; }
img { width: 100%; display: block; border-radius: 6px; }
"""


def to_html(
    found: Disagreement, *, first: str, second: str, source: str, classes: Sequence[LabelClass]
) -> str:
    """Write the page.

    Args:
        found: How the two differ.
        first: Name of the one that counts as right.
        second: Name of the other one.
        source: What the images are, for example "camvid val".
        classes: Classes in channel order.
    """
    title = f"{second} differs from {first} on {found.differing:.3%} of the pixels"
    near = f"{found.near_boundaries:.3%} within 3 pixels of a boundary"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(found.by_image)} images of {escape(source)} · {near}{_scores(found)}</p>",
    ]
    parts += [
        _classes(found, classes),
        _exchanges(found, classes),
        _places(found),
        _worst(found, classes),
        _images(found),
    ]
    return PAGE.format(
        title=escape(title), style=STYLE, body="\n".join(part for part in parts if part)
    )


def _scores(found: Disagreement) -> str:
    if found.scores is None:
        return ""
    return f" · mIoU {found.scores[0].miou:.2%} and {found.scores[1].miou:.2%}"


def _classes(found: Disagreement, classes: Sequence[LabelClass]) -> str:
    rows = [
        (_dot(label), _share(share, max(value or 0 for value in found.by_class)))
        for label, share in zip(classes, found.by_class, strict=True)
        if share is not None
    ]
    return _table(
        "By class",
        "Share of the first one's pixels of a class to which the second one gives another.",
        ("class", "differs"),
        rows,
    )


def _exchanges(found: Disagreement, classes: Sequence[LabelClass]) -> str:
    counts = found.exchanged.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(place), len(classes)) for place in order if counts.flat[place]]
    rows = [
        (_dot(classes[one]), _dot(classes[other]), f"{counts[one, other]:,}")
        for one, other in pairs
    ]
    return _table(
        "Exchanged",
        "What the first one says, and the second one instead.",
        ("first", "second", "pixels"),
        rows,
    )


def _places(found: Disagreement) -> str:
    hottest = float(found.places.max())
    if not hottest:
        return ""
    image = _image(paint_heat(found.places, hottest=hottest))
    hint = f"All images on each other; the brightest place differs on {hottest:.2%} of them."
    return f'<h2>Where</h2><p>{hint}</p><div class="map">{image}</div>'


def _worst(found: Disagreement, classes: Sequence[LabelClass]) -> str:
    if not found.shown:
        return ""
    painter = Painter(classes, opacity=0.6, legend=False)
    return "<h2>Most different</h2>" + "".join(_figure(one, painter) for one in found.shown)


def _figure(shown: Shown, painter: Painter) -> str:
    heat = heat_of(shown.first, shown.second)
    glowing = cv2.addWeighted(
        shown.asked.image, 0.35, paint_heat(heat, hottest=float(heat.max())), 0.9, 0
    )
    masks = [painter.paint(shown.asked.image, mask) for mask in (shown.first, shown.second)]
    images = "".join(
        _image(image) for image in (shown.asked.image, *masks, np.asarray(glowing, dtype=np.uint8))
    )
    caption = (
        f"{escape(shown.asked.name)}: {shown.differing:.3%}; the image, the first one, the second"
        " one, where they differ"
    )
    return f'<figure><div class="four">{images}</div><figcaption>{caption}</figcaption></figure>'


def _images(found: Disagreement) -> str:
    most = max(share for _, share in found.by_image)
    ordered = sorted(found.by_image, key=lambda pair: -pair[1])
    return _table(
        "By image",
        "",
        ("picture", "differs"),
        [(escape(name), _share(share, most)) for name, share in ordered],
    )


def _table(title: str, hint: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    said = f"<p>{hint}</p>" if hint else ""
    return f'<h2>{title}</h2>{said}<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _share(share: float, most: float) -> str:
    return (
        f'<span class="bar" style="width:{round(120 * share / most) if most else 0}px"></span>'
        f" {share:.3%}"
    )


def _dot(label: LabelClass) -> str:
    return f'<span class="dot" style="background:rgb{label.color}"></span>{escape(label.name)}'


def _image(image: Image) -> str:
    """Put an image into the page itself."""
    height, width = image.shape[:2]
    shown = min(WIDTH, width)
    small = resize(image, max(1, round(height * shown / width)), width=shown)
    _, content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return (
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}">'
    )
