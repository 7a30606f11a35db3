// Vectors are arrays of three numbers. All lengths of the viewer are steps of the int16 positions.
"use strict";

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const sum = (a, b, s) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]]; // a + s b
const scaled = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const unit = (a) => scaled(a, 1 / (Math.hypot(...a) || 1));
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const between = (low, value, high) => Math.max(low, Math.min(high, value));

// A number as people write it: three digits that count, and no exponent.
function rounded(value) {
  if (value >= 100) return value.toFixed(0);
  return value.toLocaleString("en", { maximumSignificantDigits: 3, useGrouping: false });
}
