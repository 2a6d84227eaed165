// Rotations and principal axes of 3 x 3 matrices, rows of rows; quaternions begin with their real part.

export function matrix([w, x, y, z]) {
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ];
}

// Of a rotation (Shepperd 1978): divided by the largest of its four numbers.
export function quaternion(m) {
  const trace = m[0][0] + m[1][1] + m[2][2];
  const squares = [trace, m[0][0], m[1][1], m[2][2]];
  const k = squares.indexOf(Math.max(...squares));
  const q = k === 0
    ? [1 + trace, m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]]
    : [0, 0, 0, 0];
  if (k > 0) {
    const [i, j, l] = [k - 1, k % 3, (k + 1) % 3];
    q[0] = m[l][j] - m[j][l];
    q[1 + i] = 1 + m[i][i] - m[j][j] - m[l][l];
    q[1 + j] = m[i][j] + m[j][i];
    q[1 + l] = m[i][l] + m[l][i];
  }
  const length = Math.hypot(...q);
  return q.map((x) => x / length);
}

// Eigenvalues of a symmetric matrix, the smallest first, and a rotation whose columns are its eigenvectors
// (Jacobi's method).
export function eigen(symmetric) {
  const a = symmetric.map((row) => [...row]);
  const v = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  for (let sweep = 0; sweep < 30; sweep++) {
    for (const [p, q] of [[0, 1], [0, 2], [1, 2]]) {
      if (a[p][q] === 0) continue;
      const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
      const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1)), c = 1 / Math.hypot(t, 1), s = t * c;
      for (let k = 0; k < 3; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
      for (let k = 0; k < 3; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
      for (let k = 0; k < 3; k++) [v[k][p], v[k][q]] = [c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]];
      a[p][q] = a[q][p] = 0;
    }
  }
  const order = [0, 1, 2].sort((i, j) => a[i][i] - a[j][j]);
  const odd = (order[0] > order[1]) + (order[0] > order[2]) + (order[1] > order[2]);
  const axes = v.map((row) => order.map((i, k) => (k === 2 && odd % 2 ? -row[i] : row[i])));
  return [order.map((i) => a[i][i]), axes];
}
