// Reading a QR code from a picture, in this browser: the picture goes nowhere. (vendor/jsQR.js: Apache-2.0.)

const LARGEST = 1600;  // pixels of the longer side: enough for any code, and quick

/** The text of the QR code in an image file, or null. @param {File} file */
export async function readQr(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return null;
  }
  await import('../vendor/jsQR.js');
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const {data, width, height} = context.getImageData(0, 0, canvas.width, canvas.height);
  return /** @type {any} */ (window).jsQR(data, width, height)?.data ?? null;
}
