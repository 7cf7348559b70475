// The three panels as they look now, in one PNG.

const GAP = 8;
const TITLE = 26;

export function saveSnapshot(panels, source) {
  const pictures = panels.map((panel) => panel.picture);
  const sheet = document.createElement("canvas");
  sheet.width = pictures.reduce((total, { width }) => total + width + GAP, GAP);
  sheet.height = Math.max(...pictures.map(({ height }) => height)) + TITLE + GAP;
  const pen = sheet.getContext("2d");
  pen.fillStyle = "#15191f";
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.font = "600 13px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const now = new Date();
  let x = GAP;
  for (const [i, picture] of pictures.entries()) {
    pen.fillStyle = "#d9dfe8";
    const title = panels[i].kind[0].toUpperCase() + panels[i].kind.slice(1);
    pen.fillText(i ? title : `${title} · ${source} · ${now.toLocaleString()}`, x, TITLE / 2);
    pen.drawImage(picture, x, TITLE);
    x += picture.width + GAP;
  }
  sheet.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${source.replace(/[^\w.-]+/g, "_")}-${now.toISOString().slice(0, 19).replace(/:/g, "")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}
