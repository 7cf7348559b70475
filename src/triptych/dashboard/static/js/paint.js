// Label maps to colours.

/** Red, green and blue of "#rrggbb". */
export function channels(colour) {
  const rgb = parseInt(colour.slice(1), 16);
  return [rgb >> 16, (rgb >> 8) & 255, rgb & 255];
}

/** A colour with an alpha of 0..1, as one pixel of an ImageData seen as little-endian Uint32. */
export function pixel(colour, alpha) {
  const [r, g, b] = channels(colour);
  return ((Math.round(alpha * 255) << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

/** A colour with a share of white in it. */
export function lighter(colour, share) {
  const mixed = channels(colour).map((v) => Math.round(v + (255 - v) * share));
  return `#${mixed.map((v) => v.toString(16).padStart(2, "0")).join("")}`;
}

/** Black or white, whichever reads better on a colour. */
export function ink(colour) {
  const [r, g, b] = channels(colour);
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#14161a" : "#ffffff";
}

/**
 * Fill `out` with the colour of every pixel's label: `fill[label]`, or `line[label]` where the
 * next pixel on any side has another one. Without `line` there are no outlines.
 */
export function tint(labels, width, fill, line, out) {
  const size = labels.length;
  if (!line) {
    for (let i = 0; i < size; i++) out[i] = fill[labels[i]];
    return;
  }
  const last = size - width;
  for (let start = 0; start < size; start += width) {
    const up = start > 0 ? -width : 0;
    const down = start < last ? width : 0;
    for (let i = start, end = start + width; i < end; i++) {
      const v = labels[i];
      const border =
        labels[i + up] !== v ||
        labels[i + down] !== v ||
        (i > start && labels[i - 1] !== v) ||
        (i < end - 1 && labels[i + 1] !== v);
      out[i] = border ? line[v] : fill[v];
    }
  }
}
