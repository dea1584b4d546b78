"""Plots as SVG text that stands in an HTML page: bars and lines, with axes that name their ends."""

from html import escape

WIDTH, HEIGHT = 460, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 10, 10, 34
_INNER_WIDTH = WIDTH - _LEFT - _RIGHT
_INNER_HEIGHT = HEIGHT - _TOP - _BOTTOM
COLOURS = ("#3b6ea5", "#c0504d", "#7a9a3a", "#8064a2", "#d08b2c", "#4aa3a3", "#777777")


def short(number):
    """1234567 -> 1.23M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.4g}"


def _text(x, y, text, anchor="middle"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(str(text))}</text>'


def _frame(body, top, bottom, x_title):
    base = _TOP + _INNER_HEIGHT
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f'<path d="M{_LEFT} {_TOP}V{base}H{WIDTH - _RIGHT}" fill="none" stroke="#999"/>'
        + _text(_LEFT - 4, _TOP + 8, short(top), "end")
        + _text(_LEFT - 4, base, short(bottom), "end")
        + _text(_LEFT + _INNER_WIDTH / 2, HEIGHT - 4, x_title)
        + body
        + "</svg>"
    )


def bars(values, x_title):
    """`values`: pairs (label, number), in order; labels are thinned out where they are many."""
    top = max((value for _, value in values), default=0) or 1
    step = _INNER_WIDTH / max(1, len(values))
    every = max(1, -(-len(values) // 12))
    body = []
    for place, (label, value) in enumerate(values):
        height = _INNER_HEIGHT * value / top
        x, y = _LEFT + place * step, _TOP + _INNER_HEIGHT - height
        body.append(
            f'<rect x="{x + 0.5:.1f}" y="{y:.1f}" width="{max(0.5, step - 1):.1f}" '
            f'height="{height:.1f}" fill="{COLOURS[0]}"><title>{escape(str(label))}: '
            f"{value}</title></rect>"
        )
        if place % every == 0:
            body.append(_text(x + step / 2, _TOP + _INNER_HEIGHT + 14, label))
    return _frame("".join(body), top, 0, x_title)


def line(points, x_title):
    """`points`: pairs of numbers, in the order of x."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high, bottom, top = min(xs), max(xs), min(ys), max(ys)

    def place(x, y):
        across = (x - low) / ((high - low) or 1)
        up = (y - bottom) / ((top - bottom) or 1)
        return f"{_LEFT + across * _INNER_WIDTH:.1f} {_TOP + (1 - up) * _INNER_HEIGHT:.1f}"

    path = "M" + "L".join(place(x, y) for x, y in points)
    body = f'<path d="{path}" fill="none" stroke="{COLOURS[0]}"/>'
    body += _text(_LEFT, _TOP + _INNER_HEIGHT + 14, short(low))
    body += _text(WIDTH - _RIGHT, _TOP + _INNER_HEIGHT + 14, short(high), "end")
    return _frame(body, top, bottom, x_title)
