"""Depth at which the photos agree: of a few candidates for a pixel, the one that other photos show alike.

The geometric passes ask only what other depth maps say. At the edge of a thing these often see past it, and agree on
what lies behind. So where candidates differ, small windows around the pixel are compared with the source photos: by a
zero-mean normalised cross-correlation whose samples count by how near they are to the pixel, in the image and in
brightness, on the plane that the depth map has there. Candidates and their scores are as in PatchMatch stereo with
geometric consistency (Xu and Tao, CVPR 2019), but none is random. Whether photos agree also tells how sure a depth is.
This is not in the paper.
"""

from collections.abc import Sequence

import cv2
import numba
import numpy as np

from fusion.consensus import TOLERANCE, agreement
from fusion.consistency import FASTMATH
from fusion.sources import Sources
from numba_cache import cached_njit

# Candidates are the planes of the pixels so far away to the left, right, top and bottom, and what the sources see.
RING = (2, 5, 11)
# Candidates nearer to each other than this share are one: which of them is better a correlation hardly tells.
SAME = 0.015
# Windows have 5 x 5 samples, 2 pixels apart. A sample whose brightness, 0 to 1, is so far from the pixel's counts 1/e.
WINDOW_REACH, WINDOW_STEP, BRIGHTNESS = 4, 2, 0.067
# A correlation c counts exp(-(1 - c)^2 / 2 s^2); of so many sources the mean of the best three. One alone counts less.
SPREAD, MOST_SOURCES, BEST, ALONE = 0.3, 6, 3, 0.8
# A source whose own surface is nearer by this share does not see the pixel.
HIDDEN = 0.018
# Nor does one in which neighbouring samples are so many times as far apart.
MOST_STRETCHED = 8.0
# What that counts beside the support by the sources' depth, in units of confidence; and what a pixel's own depth has
# ahead. 1 to 5 and 0 to 0.3 were tried on photographs and rendered scenes.
PHOTOS, OWN_AHEAD = 3.0, 0.3
BESIDE, UNSEEN = -1.0, -2.0  # in the place of what a photo shows
# Beside a pixel's own confidence so much of the sources' counts, and of that so much without photos. Sorted by it the
# depths of eight rendered scenes and of a video had 11.6 % errors over 1 % in the mean of all shares, by the network's
# alone 12.2; with 1 instead of 0.2 it misled in two scenes, with 0 less was found on bare walls.
CONFIRMED, BLIND = 1 / 3, 0.2
NOISE = 1e-5  # variance of the brightness that is none
# A plane's slope is taken from pixels up to so far away whose depth changes by at most this share a pixel.
SLOPE_REACH, SLOPE_MOST = 3, 0.006


def photo_consistent_depth(
    depth: np.ndarray, image: np.ndarray, sources: Sources, images: Sequence[np.ndarray]
) -> np.ndarray:
    """The reference's depth [H, W] float32, where candidates for it differ that at which the photos agree most.

    image: the reference's, RGB uint8 [H, W, 3]; images: those of the first sources, each of its depth map's size, of
    which MOST_SOURCES are taken. Candidates are the planes a few pixels away and what the sources see at the pixel.
    Depths that are not positive and finite stay, and are no candidates; those that lie beside all these photos stay,
    too.
    """
    chosen = np.array(depth, np.float32)
    if not len(sources) or not images:
        return chosen
    photo, photos = brightness_of(image), photos_of(sources, images)
    _choose(_planes(depth), photo, sources.carried, sources.seen, photos, sources.sizes, sources.src_T_ref, chosen)
    return chosen


def confirmation(depth: np.ndarray, image: np.ndarray, sources: Sources, images: Sequence[np.ndarray]) -> np.ndarray:
    """How sure the sources make the reference's depth [H, W], float32 0 or more, in units of confidence: by their own
    where they see the same surface, and more where the photos agree, too.

    image and images: as for `photo_consistent_depth`. What all others see behind a thing confirms a wrong depth as well
    as a right one; the photos of the two differ. Where there is little to see they tell nothing, so something counts
    in any case.
    """
    confirmed = np.zeros(depth.shape, np.float32)
    if not len(sources):
        return confirmed
    photo, photos = brightness_of(image), photos_of(sources, images)
    _confirm(_planes(depth), photo, sources.seen, photos, sources.sizes, sources.src_T_ref, confirmed)
    return confirmed


def photos_of(sources: Sources, images: Sequence[np.ndarray]) -> np.ndarray:
    """The brightness of the first sources' images [s, h, w], 0 beyond a smaller one."""
    photos = np.zeros((min(len(images), MOST_SOURCES), *sources.seen.shape[1:3]), np.float32)
    for photo, image, (height, width) in zip(photos, images, sources.sizes, strict=False):
        photo[:height, :width] = brightness_of(image)
    return photos


def _planes(depth: np.ndarray) -> np.ndarray:
    planes = np.empty((*depth.shape, 3), np.float32)
    _fit_planes(np.ascontiguousarray(depth, np.float32), planes)
    return planes


def brightness_of(image: np.ndarray) -> np.ndarray:
    """Of an RGB image uint8 [H, W, 3]: float32 [H, W], 0 to 1."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _fit_planes(depth, planes):
    """Fill planes [H, W, 3]: inverse depth, 0 where there is none, and its change to the right and down."""
    height, width = depth.shape
    for y in range(height):
        for x in range(width):
            planes[y, x, 0] = 1 / depth[y, x] if 0 < depth[y, x] < np.inf else np.float32(0)
    for y in range(height):
        for x in range(width):
            here, right, down, rights, downs = planes[y, x, 0], 0.0, 0.0, 1e-9, 1e-9
            for k in range(-SLOPE_REACH, SLOPE_REACH + 1):
                most = SLOPE_MOST * abs(k) * here
                if 0 <= x + k < width and abs(planes[y, x + k, 0] - here) < most:
                    right += k * (planes[y, x + k, 0] - here)
                    rights += k * k
                if 0 <= y + k < height and abs(planes[y + k, x, 0] - here) < most:
                    down += k * (planes[y + k, x, 0] - here)
                    downs += k * k
            planes[y, x, 1], planes[y, x, 2] = right / rights, down / downs


@cached_njit(parallel=True, fastmath=FASTMATH, error_model="numpy")
def _choose(planes, photo, carried, seen, photos, sizes, src_T_ref, chosen):
    """Fill chosen [H, W] from planes [H, W, 3], the photo's brightness [H, W], what was carried over [S, H, W, 2], seen
    [S, h, w, 2], the sources' brightness [s, h, w] and sizes [S, 2], and src_T_ref [S, 4, 4]."""
    height, width = photo.shape
    side = 2 * WINDOW_REACH // WINDOW_STEP + 1
    for number in numba.prange(height):
        y = np.int64(number)
        candidates = np.empty((1 + 4 * len(RING) + len(carried), 4))
        window, matches = np.empty((side * side, 2), np.float32), np.empty(len(photos))
        for x in range(width):
            count = _find_candidates(planes, carried, y, x, candidates)
            if count < 2:
                continue
            others = -np.inf  # the most that another than the pixel's own can have
            for c in range(count):
                candidates[c, 3] = _support(x, y, candidates[c, 0], seen, sizes, src_T_ref)
                others = max(others, candidates[c, 3] + PHOTOS) if c > 0 else others
            if others <= candidates[0, 3] + OWN_AHEAD:
                continue
            contrast, most = _fill_window(photo, y, x, window), -np.inf
            for c in range(count):
                inverse, right, down, support = candidates[c, 0], candidates[c, 1], candidates[c, 2], candidates[c, 3]
                if support + PHOTOS <= most:
                    continue  # however well the photos agree
                _ask(x, y, inverse, right, down, window, contrast, seen, photos, sizes, src_T_ref, matches)
                if c == 0 and _all_beside(matches):
                    break  # a thing near this camera, which the others pass by: what they see is behind it
                score = support + PHOTOS * _mean_of_best(matches) + (OWN_AHEAD if c == 0 else 0.0)
                if score > most:
                    most = score
                    if c > 0:
                        chosen[y, x] = 1 / inverse


@cached_njit(parallel=True, fastmath=FASTMATH, error_model="numpy")
def _confirm(planes, photo, seen, photos, sizes, src_T_ref, confirmed):
    """Fill confirmed [H, W]; the other arrays are those of `_choose`. Windows are larger than 2 x 2 pixels: photos are
    asked once for four."""
    height, width = photo.shape
    side = 2 * WINDOW_REACH // WINDOW_STEP + 1
    for number in numba.prange((height + 1) // 2):
        half = np.int64(number)
        window, matches = np.empty((side * side, 2), np.float32), np.empty(len(photos))
        for left in range(0, width, 2):
            share = -1.0
            for y in range(2 * half, min(2 * half + 2, height)):
                for x in range(left, min(left + 2, width)):
                    if planes[y, x, 0] <= 0:
                        continue
                    inverse = np.float64(planes[y, x, 0])
                    right, down = np.float64(planes[y, x, 1]), np.float64(planes[y, x, 2])
                    if share < 0 and len(photos) > 0:
                        contrast = _fill_window(photo, y, x, window)
                        _ask(x, y, inverse, right, down, window, contrast, seen, photos, sizes, src_T_ref, matches)
                    if share < 0:
                        share = BLIND + (1 - BLIND) * _mean_of_best(matches) if len(photos) else BLIND
                    support = _support(x, y, inverse, seen, sizes, src_T_ref)
                    confirmed[y, x] = CONFIRMED * max(support, 0.0) * share


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _find_candidates(planes, carried, y, x, candidates):
    """Fill candidates [C, 3] with the planes that a pixel may have, its own first; how many they are."""
    height, width = planes.shape[:2]
    if planes[y, x, 0] <= 0:
        return 0
    candidates[0, 0], candidates[0, 1], candidates[0, 2] = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
    count = 1
    for k in RING:
        for down, right in ((0, k), (0, -k), (k, 0), (-k, 0)):
            if 0 <= y + down < height and 0 <= x + right < width and planes[y + down, x + right, 0] > 0:
                to_right, downwards = planes[y + down, x + right, 1], planes[y + down, x + right, 2]
                inverse = planes[y + down, x + right, 0] - to_right * right - downwards * down
                count = _add_candidate(inverse, to_right, downwards, candidates, count)
    for s in range(len(carried)):
        if carried[s, y, x, 0] > 0:
            inverse = np.float64(1 / carried[s, y, x, 0])
            count = _add_candidate(inverse, planes[y, x, 1], planes[y, x, 2], candidates, count)
    return count


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _add_candidate(inverse, right, down, candidates, count):
    """Append a plane of this inverse depth and slopes unless one much like it is there; how many they are."""
    if not 0 < inverse < np.inf:
        return count
    for c in range(count):
        if abs(candidates[c, 0] - inverse) < SAME * inverse:
            return count
    candidates[count, 0], candidates[count, 1], candidates[count, 2] = inverse, right, down
    return count + 1


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _fill_window(photo, y, x, window):
    """Fill window [n, 2] with how much each sample around a pixel counts, 1 in all, and that times its brightness less
    the mean; returns the variance."""
    height, width = photo.shape
    n, total, mean, square = 0, 0.0, 0.0, 0.0
    for down in range(-WINDOW_REACH, WINDOW_REACH + 1, WINDOW_STEP):
        for right in range(-WINDOW_REACH, WINDOW_REACH + 1, WINDOW_STEP):
            window[n] = 0
            if 0 <= y + down < height and 0 <= x + right < width:
                value = photo[y + down, x + right]
                far = (down * down + right * right) / (2.0 * WINDOW_REACH * WINDOW_REACH)
                weight = np.exp(-far - abs(value - photo[y, x]) / BRIGHTNESS)
                window[n, 0], window[n, 1] = weight, value
                total += weight
                mean += weight * value
                square += weight * value * value
            n += 1
    mean /= total
    for n in range(len(window)):
        window[n, 0] /= total
        window[n, 1] = window[n, 0] * (window[n, 1] - mean)
    return square / total - mean * mean


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _support(x, y, inverse, seen, sizes, src_T_ref):
    """How much the sources' depth supports a pixel's."""
    support = 0.0
    for s in range(len(seen)):
        A = src_T_ref[s]
        z = A[2, 0] * x + A[2, 1] * y + A[2, 2] + A[2, 3] * inverse
        if z > 0:
            u = (A[0, 0] * x + A[0, 1] * y + A[0, 2] + A[0, 3] * inverse) / z
            v = (A[1, 0] * x + A[1, 1] * y + A[1, 2] + A[1, 3] * inverse) / z
            if 0 <= u < sizes[s, 1] - 1 and 0 <= v < sizes[s, 0] - 1:
                row, column = int(v + 0.5), int(u + 0.5)
                found = seen[s, row, column, 0]
                if found > 0:
                    support += seen[s, row, column, 1] * agreement(found, z / inverse, TOLERANCE)
    return support


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _ask(x, y, inverse, right, down, window, contrast, seen, photos, sizes, src_T_ref, matches):
    """Fill matches [s] with how well the first sources' photos show a pixel's window on its plane, 0 to 1, negative
    where they cannot: BESIDE where it lies beside the photo."""
    for s in range(len(photos)):
        A, height, width = src_T_ref[s], sizes[s, 0], sizes[s, 1]
        matches[s] = BESIDE
        z = A[2, 0] * x + A[2, 1] * y + A[2, 2] + A[2, 3] * inverse
        if not z > 0:
            continue
        u = (A[0, 0] * x + A[0, 1] * y + A[0, 2] + A[0, 3] * inverse) / z
        v = (A[1, 0] * x + A[1, 1] * y + A[1, 2] + A[1, 3] * inverse) / z
        if not (0 <= u < width - 1 and 0 <= v < height - 1):
            continue
        matches[s] = UNSEEN
        if 0 < seen[s, int(v + 0.5), int(u + 0.5), 0] < (1 - HIDDEN) * z / inverse:
            continue
        # How the position changes to the right and down on the plane: over a few pixels evenly.
        zx, zy = A[2, 0] + A[2, 3] * right, A[2, 1] + A[2, 3] * down
        ux, uy = (A[0, 0] + A[0, 3] * right - u * zx) / z, (A[0, 1] + A[0, 3] * down - u * zy) / z
        vx, vy = (A[1, 0] + A[1, 3] * right - v * zx) / z, (A[1, 1] + A[1, 3] * down - v * zy) / z
        if abs(ux) + abs(uy) + abs(vx) + abs(vy) < MOST_STRETCHED:  # false for NaN
            correlation = _correlation(window, contrast, photos[s], height, width, u, v, ux, uy, vx, vy)
            matches[s] = np.exp(-np.square(1 - correlation) / (2 * SPREAD * SPREAD))


# Not all of fast math, which is a tenth faster: sums would come in another order in a kernel that is compiled with its
# callers than in one from the disk's cache.
@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _correlation(window, contrast, photo, height, width, u, v, ux, uy, vx, vy):
    """The correlation, -1 to 1, of a window [n, 2] of variance `contrast` with a photo [height, width] around (u, v).

    (ux, vx) and (uy, vy) are how far it is in the photo to the sample's neighbour to the right and down. Beyond the
    photo its border counts.
    """
    right_end, bottom_end = np.float32(width - 1), np.float32(height - 1)
    mean, square, both = np.float32(0), np.float32(0), np.float32(0)
    ux, uy, vx, vy = np.float32(ux), np.float32(uy), np.float32(vx), np.float32(vy)
    flat, n = photo.reshape(-1), np.uint64(0)
    beside, below = np.uint64(1), np.uint64(photo.shape[1])  # unsigned indices spare numba's check for negative ones
    for down in range(-WINDOW_REACH, WINDOW_REACH + 1, WINDOW_STEP):
        for right in range(-WINDOW_REACH, WINDOW_REACH + 1, WINDOW_STEP):
            aside, ahead = np.float32(right), np.float32(down)
            column = min(max(np.float32(u) + ux * aside + uy * ahead, np.float32(0)), right_end)
            row = min(max(np.float32(v) + vx * aside + vy * ahead, np.float32(0)), bottom_end)
            left, top = min(np.int32(column), np.int32(width - 2)), min(np.int32(row), np.int32(height - 2))
            across, along = column - np.float32(left), row - np.float32(top)
            first = np.uint64(top) * below + np.uint64(left)
            upper = flat[first] + (flat[first + beside] - flat[first]) * across
            lower = flat[first + below] + (flat[first + below + beside] - flat[first + below]) * across
            value = upper + (lower - upper) * along
            counted = window[n, 0] * value
            mean += counted
            square += counted * value
            both += window[n, 1] * value
            n += beside
    return both / np.sqrt((max(square - mean * mean, np.float32(0)) + NOISE) * (contrast + NOISE))


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _all_beside(matches):
    beside = True
    for s in range(len(matches)):
        beside = beside and matches[s] == BESIDE
    return beside


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _mean_of_best(matches):
    """The mean of the best few of the matches [s] that are not negative; 0 without one. One alone counts less."""
    total, count = 0.0, 0
    while count < BEST:
        best = 0
        for s in range(1, len(matches)):
            best = s if matches[s] > matches[best] else best
        if matches[best] < 0:
            break
        total += matches[best]
        matches[best] = UNSEEN
        count += 1
    return total / max(count, 1) * (ALONE if count == 1 else 1.0)
