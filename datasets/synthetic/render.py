"""A small ray caster for the procedural scenes: exact depth, solid textures, Lambert shading with cast shadows, lamps,
mirroring floors.

Every solid is a unit primitive behind an affine map `unit_T_world`, so a ray keeps its parameter t from the world to
the primitive. Rays have camera direction (x, y, 1): t is the depth along the optical axis. All lengths are in mm.

The kernels stay in one file: numba's cache notices changes of a kernel's own file only, and must not draw old textures.
"""

import math

import numpy as np

from numba_cache import cached_njit

# Primitives: |p| = 1 from outside and from inside, the cube |p|_inf = 1, z = 0, and a unit-high cylinder or cone.
ELLIPSOID, BOWL, BOX, PLANE, CYLINDER, CONE = range(6)
PLAIN, BLOTCHES, STRIPES, CHECKS, MOSAIC, CELLS, GRID, DOTS, RINGS, PICTURE = range(10)

NOWHERE = (math.inf, 0.0, 0.0, 0.0)
MAX_OCTAVES = 8


# One solid. A record of plain numbers instead of arrays side by side: kernels pass it on without counting references.
SOLID = np.dtype(
    [
        ("kind", np.int64),  # ELLIPSOID ...
        ("is_background", np.bool_),  # closes rays and casts no shadow
        ("unit_T_world", np.float64, (3, 4)),  # affine, to the unit primitive
        ("centre", np.float64, 3),  # of a sphere about the solid, in the world
        ("reach", np.float64),  # mm, radius of that sphere; inf for backgrounds
        ("texture_T_world", np.float64, (3, 4)),  # rigid, to the texture's coordinates in mm
        ("pattern", np.int64),  # PLAIN ...
        ("picture", np.int64),  # which one, for PICTURE
        ("colors", np.float64, (3, 3)),  # three RGB colours in 0..1
        ("period", np.float64),  # mm, of the pattern; a picture's width
        ("warp", np.float64),  # mm, by which noise bends the pattern
        ("grain", np.float64),  # strength of the noise over everything
        ("grain_period", np.float64),  # mm, of its coarsest octave
        ("bare", np.float64),  # 0..1, share of the surface left in one colour
        ("gloss", np.float64),  # strength of highlights
        ("shine", np.float64),  # exponent of highlights: the larger, the smaller they are
        ("salt", np.int64),  # makes the noise of each solid its own
        ("mirror", np.float64),  # share of light that is mirrored at grazing sight; 0: none
        ("glow", np.float64),  # above 0: shines by itself, so many times its colour, whatever the light
        ("members", np.int64),  # so many solids from this one on lie in the group's sphere; 0: no group starts here
        ("group_centre", np.float64, 3),  # of that sphere
        ("group_reach", np.float64),  # mm, its radius
    ],
    align=True,
)

# One light of a scene: a sun, ambient light, and up to two lamps.
LIGHT = np.dtype(
    [
        ("direction", np.float64, 3),  # unit, towards the sun
        ("strength", np.float64, 3),  # RGB, of the sun
        ("ambient", np.float64, 3),  # RGB
        ("above", np.float64),  # how much more of it falls on what faces up (-y), and less on what faces down
        ("corners", np.float64),  # 0..1, how much of it planes of the background take from what is next to them
        ("lamps", np.float64, (2, 6)),  # place in mm and RGB strength at LAMP_REACH; strength 0: no lamp
    ],
    align=True,
)
LAMP_REACH = 1500.0  # mm
CORNER_REACH = 300.0  # mm


# error_model="numpy": a division by zero gives inf, which the slab test wants, instead of an exception.
kernel = cached_njit(error_model="numpy")


# ---------------------------------------------------------------- geometry


@kernel
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def _point(matrix, p):
    return (
        matrix[0, 0] * p[0] + matrix[0, 1] * p[1] + matrix[0, 2] * p[2] + matrix[0, 3],
        matrix[1, 0] * p[0] + matrix[1, 1] * p[1] + matrix[1, 2] * p[2] + matrix[1, 3],
        matrix[2, 0] * p[0] + matrix[2, 1] * p[1] + matrix[2, 2] * p[2] + matrix[2, 3],
    )


@kernel
def _vector(matrix, v):
    return (
        matrix[0, 0] * v[0] + matrix[0, 1] * v[1] + matrix[0, 2] * v[2],
        matrix[1, 0] * v[0] + matrix[1, 1] * v[1] + matrix[1, 2] * v[2],
        matrix[2, 0] * v[0] + matrix[2, 1] * v[1] + matrix[2, 2] * v[2],
    )


@kernel
def _along(o, d, t):
    return o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]


@kernel
def _hit_sphere(o, d, inside):
    a, b, c = _dot(d, d), _dot(o, d), _dot(o, o) - 1.0
    root = b * b - a * c
    if root <= 0.0:
        return NOWHERE
    t = (-b + math.sqrt(root)) / a if inside else (-b - math.sqrt(root)) / a
    x, y, z = _along(o, d, t)
    return t, x, y, z


@kernel
def _hit_box(o, d):
    near, far, axis = -math.inf, math.inf, 0
    for i in range(3):
        t0, t1 = (-1.0 - o[i]) / d[i], (1.0 - o[i]) / d[i]
        if min(t0, t1) > near:
            near, axis = min(t0, t1), i
        far = min(far, max(t0, t1))
    if near >= far:
        return NOWHERE
    side = -1.0 if d[axis] > 0.0 else 1.0
    return near, side * (axis == 0), side * (axis == 1), side * (axis == 2)


@kernel
def _hit_frustum(o, d, radius, taper):
    """x² + y² = (radius - taper z)² for |z| <= 1, with both ends closed."""
    best = NOWHERE
    r, dr = radius - taper * o[2], -taper * d[2]
    a = d[0] * d[0] + d[1] * d[1] - dr * dr
    b = o[0] * d[0] + o[1] * d[1] - r * dr
    c = o[0] * o[0] + o[1] * o[1] - r * r
    root = b * b - a * c
    if root > 0.0:
        for sign in (-1.0, 1.0):
            t = (-b + sign * math.sqrt(root)) / a
            x, y, z = _along(o, d, t)
            if 1e-9 < t < best[0] and abs(z) <= 1.0:
                best = (t, x, y, taper * (radius - taper * z))
    for end in (-1.0, 1.0):
        t = (end - o[2]) / d[2]
        x, y, _ = _along(o, d, t)
        if 1e-9 < t < best[0] and x * x + y * y <= (radius - taper * end) ** 2:
            best = (t, 0.0, 0.0, end)
    return best


@kernel
def _hit(kind, o, d):
    """(t, normal) where the ray o + t d meets the unit primitive first; t is inf where it does not."""
    if kind == ELLIPSOID:
        return _hit_sphere(o, d, False)
    if kind == BOWL:
        return _hit_sphere(o, d, True)
    if kind == BOX:
        return _hit_box(o, d)
    if kind == CYLINDER:
        return _hit_frustum(o, d, 1.0, 0.0)
    if kind == CONE:
        return _hit_frustum(o, d, 0.5, 0.5)
    return -o[2] / d[2], 0.0, 0.0, 1.0


@kernel
def _may_hit(centre, reach, o, d, dd):
    """Whether the line through o along d passes through a sphere; dd is d · d."""
    v = (centre[0] - o[0], centre[1] - o[1], centre[2] - o[2])
    vd = _dot(v, d)
    return _dot(v, v) * dd - vd * vd < reach * reach * dd


@kernel
def _nearest(solids, origin, direction):
    """(t, index, unit-primitive normal) of the first solid that the ray meets."""
    t_best, best, normal = math.inf, -1, (0.0, 0.0, 0.0)
    dd = _dot(direction, direction)
    i = 0
    while i < len(solids):
        solid = solids[i]
        if solid.members and not _may_hit(solid.group_centre, solid.group_reach, origin, direction, dd):
            i += solid.members
            continue
        if _may_hit(solid.centre, solid.reach, origin, direction, dd):
            o, d = _point(solid.unit_T_world, origin), _vector(solid.unit_T_world, direction)
            t, nx, ny, nz = _hit(solid.kind, o, d)
            if 1e-9 < t < t_best:
                t_best, best, normal = t, i, (nx, ny, nz)
        i += 1
    return t_best, best, normal


@kernel
def _blocked(solids, origin, direction, limit):
    """Whether the ray meets a solid before t = limit that casts a shadow: backgrounds and what glows do not."""
    dd = _dot(direction, direction)
    i = 0
    while i < len(solids):
        solid = solids[i]
        if solid.members and not _may_hit(solid.group_centre, solid.group_reach, origin, direction, dd):
            i += solid.members
            continue
        casts = not solid.is_background and solid.glow == 0.0
        if casts and _may_hit(solid.centre, solid.reach, origin, direction, dd):
            o, d = _point(solid.unit_T_world, origin), _vector(solid.unit_T_world, direction)
            if 1e-9 < _hit(solid.kind, o, d)[0] < limit:
                return True
        i += 1
    return False


@kernel
def _world_normal(matrix, normal, direction):
    """The unit normal in the world (normals go through the transposed map), turned against the ray."""
    nx = matrix[0, 0] * normal[0] + matrix[1, 0] * normal[1] + matrix[2, 0] * normal[2]
    ny = matrix[0, 1] * normal[0] + matrix[1, 1] * normal[1] + matrix[2, 1] * normal[2]
    nz = matrix[0, 2] * normal[0] + matrix[1, 2] * normal[1] + matrix[2, 2] * normal[2]
    scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    if nx * direction[0] + ny * direction[1] + nz * direction[2] > 0.0:
        scale = -scale
    return nx * scale, ny * scale, nz * scale


# ---------------------------------------------------------------- textures


@kernel
def _hash(x, y, z, salt):
    """A number in 0..1 for three whole numbers."""
    h = (x * 374761393 + y * 668265263 + z * 1442695041 + salt * 974634777) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 1103515245) & 0xFFFFFFFF
    return (h ^ (h >> 15)) / 4294967296.0


@kernel
def _noise(x, y, z, salt):
    """Smooth noise in -1..1 with one random value per lattice point."""
    ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
    u, v, w = x - ix, y - iy, z - iz
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    total = 0.0
    for k in range(2):
        row0 = _hash(ix, iy, iz + k, salt) * (1 - u) + _hash(ix + 1, iy, iz + k, salt) * u
        row1 = _hash(ix, iy + 1, iz + k, salt) * (1 - u) + _hash(ix + 1, iy + 1, iz + k, salt) * u
        total += (row0 * (1 - v) + row1 * v) * (w if k else 1 - w)
    return 2 * total - 1


@kernel
def _octaves(p, period, footprint, salt):
    """Sum of noise octaves, from `period` down to what a pixel of size `footprint` can show without aliasing."""
    total, amplitude = 0.0, 1.0
    for octave in range(MAX_OCTAVES):
        fade = min(1.0, period / (2 * footprint) - 1.0)
        if fade <= 0.0:
            break
        total += fade * amplitude * _noise(p[0] / period, p[1] / period, p[2] / period, salt + octave)
        period, amplitude = period * 0.47, amplitude * 0.75
    return total


@kernel
def _edge(distance, footprint):
    """0 below and 1 above an edge at `distance` mm, averaged over the footprint."""
    return min(1.0, max(0.0, 0.5 + distance / footprint))


@kernel
def _wave(x, period):
    """Signed distance (mm) to the nearest edge of stripes half a period wide."""
    return abs((x / period - math.floor(x / period)) - 0.5) * period - 0.25 * period


@kernel
def _cells(p, period, salt):
    """(distance to the nearest cell border in mm, random number of the cell) of a Voronoi diagram."""
    x, y, z = p[0] / period, p[1] / period, p[2] / period
    ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
    first, second, value = math.inf, math.inf, 0.0
    for k in range(27):
        cx, cy, cz = ix + k % 3 - 1, iy + (k // 3) % 3 - 1, iz + k // 9 - 1
        dx = cx + _hash(cx, cy, cz, salt) - x
        dy = cy + _hash(cx, cy, cz, salt + 1) - y
        dz = cz + _hash(cx, cy, cz, salt + 2) - z
        distance = dx * dx + dy * dy + dz * dz
        if distance < first:
            first, second, value = distance, first, _hash(cx, cy, cz, salt + 3)
        elif distance < second:
            second = distance
    return (math.sqrt(second) - math.sqrt(first)) * 0.5 * period, value


@kernel
def _pattern(pattern, p, period, footprint, salt):
    """(weight of colour 1 against colour 0, brightness) of a pattern at a texture point."""
    if pattern == BLOTCHES:
        return _edge(_octaves(p, period, footprint, salt + 20) * 0.3 * period, footprint), 1.0
    if pattern == STRIPES:
        return _edge(_wave(p[0], period), footprint), 1.0
    if pattern == CHECKS:
        product = 1.0
        for i in range(3):
            product *= 2 * _edge(_wave(p[i], period), footprint) - 1
        return 0.5 + 0.5 * product, 1.0
    if pattern == MOSAIC:
        value = _hash(math.floor(p[0] / period), math.floor(p[1] / (0.6 * period)), math.floor(p[2] / period), salt)
        return 1.0 if value < 0.5 else 0.0, 0.6 + 0.8 * ((value * 16.0) % 1.0)
    if pattern == CELLS:
        border, value = _cells(p, period, salt)
        joint = _edge(border - 0.04 * period, footprint)
        return (value * 16.0) % 1.0, (0.5 + 0.7 * value) * (0.35 + 0.65 * joint)
    if pattern == GRID:
        line = 1.0
        for i in range(3):
            line = min(line, _edge(_wave(p[i], period) + 0.17 * period, footprint))
        return line, 1.0
    if pattern == DOTS:
        # A body-centred lattice of balls: a plane cuts it into dots of several sizes.
        q0, q1, q2 = p[0] / period % 1.0 - 0.5, p[1] / period % 1.0 - 0.5, p[2] / period % 1.0 - 0.5
        inner = math.sqrt(q0 * q0 + q1 * q1 + q2 * q2)
        outer = math.sqrt((0.5 - abs(q0)) ** 2 + (0.5 - abs(q1)) ** 2 + (0.5 - abs(q2)) ** 2)
        return _edge((0.4 - min(inner, outer)) * period, footprint), 1.0
    if pattern == RINGS:
        return 0.5 + 0.5 * math.sin(2 * math.pi * math.hypot(p[0], p[1]) / period), 1.0
    return 0.5 + 0.5 * math.sin(p[0] / 90.0), 1.0


@kernel
def _mirrored(x, size):
    """The texel coordinate of x in a row of `size` that repeats mirrored."""
    x = x % (2.0 * size)
    return min(max((x if x < size else 2.0 * size - x) - 0.5, 0.0), size - 1.0)


@kernel
def _texel(level, picture, u, v):
    """Bilinear RGB of a picture at (u, v) in picture widths; level [P, S, S, 3]."""
    size = level.shape[1]
    x, y = _mirrored(u * size, size), _mirrored(v * size, size)
    x0, y0 = int(x), int(y)
    x1, y1, fx, fy = min(x0 + 1, size - 1), min(y0 + 1, size - 1), x - x0, y - y0
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    pixels = level[picture]
    return (
        a * pixels[y0, x0, 0] + b * pixels[y0, x1, 0] + c * pixels[y1, x0, 0] + d * pixels[y1, x1, 0],
        a * pixels[y0, x0, 1] + b * pixels[y0, x1, 1] + c * pixels[y1, x0, 1] + d * pixels[y1, x1, 1],
        a * pixels[y0, x0, 2] + b * pixels[y0, x1, 2] + c * pixels[y1, x0, 2] + d * pixels[y1, x1, 2],
    )


@kernel
def _picture_color(pictures, solid, p, normal, footprint):
    """RGB of the solid's picture at p, pasted along the texture axis nearest to the unit normal in the world."""
    n = _vector(solid.texture_T_world, normal)
    nx, ny, nz = abs(n[0]), abs(n[1]), abs(n[2])
    u, v = (p[1], p[2]) if nx >= ny and nx >= nz else (p[0], p[2]) if ny >= nz else (p[0], p[1])
    u, v = u / solid.period, v / solid.period
    detail = math.log2(max(1.0, footprint / solid.period * pictures[0].shape[1]))
    fine = min(int(detail), len(pictures) - 2)
    share = min(detail - fine, 1.0)
    first, second = _texel(pictures[fine], solid.picture, u, v), _texel(pictures[fine + 1], solid.picture, u, v)
    return (
        first[0] + share * (second[0] - first[0]),
        first[1] + share * (second[1] - first[1]),
        first[2] + share * (second[2] - first[2]),
    )


@kernel
def _albedo(solid, pictures, world, normal, footprint):
    """RGB albedo of a solid at a world point, for a pixel that covers `footprint` mm."""
    p = _point(solid.texture_T_world, world)
    if solid.pattern == PICTURE:
        color = _picture_color(pictures, solid, p, normal, footprint)
        scale = max(0.1, 1.0 + solid.grain * _octaves(p, solid.grain_period, footprint, solid.salt))
        return scale * color[0], scale * color[1], scale * color[2]
    period, salt, warp = solid.period, solid.salt, solid.warp
    bent = p
    if warp > 0.0:
        q = (p[0] / (2 * period), p[1] / (2 * period), p[2] / (2 * period))
        bent = (
            p[0] + warp * _noise(q[0], q[1], q[2], salt + 30),
            p[1] + warp * _noise(q[0], q[1], q[2], salt + 31),
            p[2] + warp * _noise(q[0], q[1], q[2], salt + 32),
        )
    weight, value = _pattern(solid.pattern, bent, period, footprint, salt)
    # Where a period covers less than about three pixels the pattern melts into its mean.
    contrast = min(1.0, max(0.0, period / footprint / 2 - 0.5))
    weight, value = 0.5 + (weight - 0.5) * contrast, 1.0 + (value - 1.0) * contrast
    grain = 1.0 + solid.grain * _octaves(p, solid.grain_period, footprint, salt)
    bare = 0.0
    if solid.bare > 0.0:
        level = _noise(p[0] / 70.0, p[1] / 70.0, p[2] / 70.0, salt + 40)
        bare = _edge((level - 0.7 + 1.4 * solid.bare) * 35.0, footprint)
    scale = max(0.1, grain)
    first, second, plain = (1 - weight) * value * (1 - bare), weight * value * (1 - bare), bare
    return (
        scale * (first * solid.colors[0, 0] + second * solid.colors[1, 0] + plain * solid.colors[2, 0]),
        scale * (first * solid.colors[0, 1] + second * solid.colors[1, 1] + plain * solid.colors[2, 1]),
        scale * (first * solid.colors[0, 2] + second * solid.colors[1, 2] + plain * solid.colors[2, 2]),
    )


# ---------------------------------------------------------------- images


@kernel
def _highlight(solid, to_light, normal, direction):
    """Strength of the light's mirror image (Blinn's half-vector model); direction is the ray's, of any length."""
    length = math.sqrt(_dot(direction, direction))
    hx, hy, hz = (
        to_light[0] - direction[0] / length,
        to_light[1] - direction[1] / length,
        to_light[2] - direction[2] / length,
    )
    cosine = (hx * normal[0] + hy * normal[1] + hz * normal[2]) / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-12)
    return solid.gloss * max(0.0, cosine) ** solid.shine


@kernel
def _corner_shade(solids, world, corners):
    """Which share of the ambient light reaches a point next to planes of the background, which come first."""
    share = 1.0
    for solid in solids:
        if not solid.is_background:
            break
        if solid.kind == PLANE:
            distance = _point(solid.unit_T_world, world)[2] / CORNER_REACH
            if distance * distance > 1e-9:  # not the plane that the point lies on
                share *= 1.0 - corners / (1.0 + distance * distance)
    return share


@kernel
def _lamp_light(solids, lamp, start, normal):
    """How much of a lamp's strength falls on a surface point that `start` lies just above."""
    to_lamp = (lamp[0] - start[0], lamp[1] - start[1], lamp[2] - start[2])
    cosine = _dot(to_lamp, normal)
    if cosine <= 0.0:
        return 0.0
    squared = _dot(to_lamp, to_lamp)
    light = cosine / math.sqrt(squared) * LAMP_REACH * LAMP_REACH / (0.1 * LAMP_REACH * LAMP_REACH + squared)
    return 0.15 * light if _blocked(solids, start, to_lamp, 0.97) else light


@kernel
def _add_shaded(solids, pictures, lights, hit, seen, weight, out):
    """Add the colour of a surface point under every light, times `weight`, to out [m, 3].

    hit: (index of the solid, its unit normal, the world point); seen: (the ray's direction, the pixel's footprint in
    mm).
    """
    i, normal, world = hit
    direction, footprint = seen
    nx, ny, nz = normal
    solid = solids[i]
    albedo = _albedo(solid, pictures, world, normal, footprint)
    start = (world[0] + 0.05 * nx, world[1] + 0.05 * ny, world[2] + 0.05 * nz)
    for m in range(len(lights)):
        light = lights[m]
        if solid.glow > 0.0:
            for c in range(3):
                out[m, c] += weight * solid.glow * albedo[c]
            continue
        to_light = (light.direction[0], light.direction[1], light.direction[2])
        lambert, mirrored = max(0.0, nx * to_light[0] + ny * to_light[1] + nz * to_light[2]), 0.0
        if lambert > 0.0:
            if solid.gloss > 0.0:
                mirrored = _highlight(solid, to_light, normal, direction)
            if _blocked(solids, start, to_light, math.inf):
                lambert, mirrored = 0.35 * lambert, 0.0
        share = 1.0 - light.above * ny
        if light.corners > 0.0:
            share *= _corner_shade(solids, world, light.corners)
        for c in range(3):
            lit = albedo[c] * (share * light.ambient[c] + light.strength[c] * lambert) + light.strength[c] * mirrored
            out[m, c] += weight * lit
        for lamp in light.lamps:
            if lamp[3] > 0.0:
                falling = weight * _lamp_light(solids, lamp, start, normal)
                for c in range(3):
                    out[m, c] += albedo[c] * lamp[3 + c] * falling


@kernel
def _add_color(solids, pictures, lights, origin, direction, focal, out):
    """Add the colour that a ray sees under every light to out [m, 3]."""
    t, i, unit_normal = _nearest(solids, origin, direction)
    world = _along(origin, direction, t)
    normal = _world_normal(solids[i].unit_T_world, unit_normal, direction)
    slant = abs(_dot(normal, direction)) / math.sqrt(_dot(direction, direction))
    seen = (direction, 0.7 * t / focal / max(slant, 0.35))
    _add_shaded(solids, pictures, lights, (i, normal, world), seen, 1.0, out)
    if solids[i].mirror > 0.0:
        # Schlick's law: hardly anything from above, nearly everything at grazing sight.
        weight = solids[i].mirror * (0.1 + 0.9 * (1.0 - slant) ** 4)
        turned = -2.0 * _dot(normal, direction)
        direction = _along(direction, normal, turned)
        origin = _along(world, normal, 0.05)
        t_next, i, unit_normal = _nearest(solids, origin, direction)
        if i >= 0:
            world = _along(origin, direction, t_next)
            normal = _world_normal(solids[i].unit_T_world, unit_normal, direction)
            seen = (direction, 1.4 * (t + t_next) / focal)
            _add_shaded(solids, pictures, lights, (i, normal, world), seen, weight, out)


@kernel
def _ray(rays, x, y):
    return (
        rays[0, 0] * x + rays[0, 1] * y + rays[0, 2],
        rays[1, 0] * x + rays[1, 1] * y + rays[1, 2],
        rays[2, 0] * x + rays[2, 1] * y + rays[2, 2],
    )


@kernel
def render_colors(solids, pictures, lights, rays, focal, width, height, samples):
    """RGB float64 [m, H, W, 3] under every light, 1 for white and more for what is brighter: the mean of samples x
    samples of the camera's `rays` (its `world_T_img`) per pixel; focal in pixels.

    `pictures` is a pyramid of float32 [P, S, S, 3] in 0..1, each level half the size of the one before, of two levels
    at least.
    """
    colors = np.zeros((len(lights), height, width, 3))
    origin = (rays[0, 3], rays[1, 3], rays[2, 3])
    out = np.zeros((len(lights), 3))
    for y in range(height):
        for x in range(width):
            out[:] = 0.0
            for k in range(samples * samples):
                u = x + (k % samples + 0.5) / samples - 0.5
                v = y + (k // samples + 0.5) / samples - 0.5
                _add_color(solids, pictures, lights, origin, _ray(rays, u, v), focal, out)
            for m in range(len(out)):
                for c in range(3):
                    colors[m, y, x, c] = out[m, c]
    return colors / (samples * samples)


@kernel
def render_images(solids, pictures, lights, rays, focal, width, height, samples):
    """RGB uint8 [m, H, W, 3]: `render_colors` cut off at white."""
    colors = render_colors(solids, pictures, lights, rays, focal, width, height, samples)
    images = np.zeros(colors.shape, np.uint8)
    for m, y, x, c in np.ndindex(colors.shape):
        images[m, y, x, c] = int(min(255.0, 255.0 * colors[m, y, x, c] + 0.5))
    return images


@kernel
def render_depth(solids, rays, xs, ys):
    """Depth along the optical axis, float64 [len(ys), len(xs)] mm, at the pixel coordinates xs and ys; inf if none.

    `rays` is the camera's `world_T_img`.
    """
    depth = np.empty((len(ys), len(xs)))
    origin = (rays[0, 3], rays[1, 3], rays[2, 3])
    for j in range(len(ys)):
        for i in range(len(xs)):
            depth[j, i] = _nearest(solids, origin, _ray(rays, xs[i], ys[j]))[0]
    return depth
