# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The limits of a season, compiled: what ``detectors.seasonal_limits.limits_of`` makes, in the same order of the same
operations on doubles, so bit for bit; the tests compare them. It is done once a day for each agent.
"""

from libc.math cimport ceil, fabs, log, pow, sqrt

from detectors.seasonal_limits import (
    _JOB_FROM, _JOB_HEADROOM, _JOB_SLOTS, _JOB_TO, _RAMP_FROM_LEAST, _RAMP_FROM_MOST, _RAMP_TO, _TAIL, EXPONENTS,
    FLOORS, PEAK_LEAST, PEAK_LEAST_PLUS, PEAK_LEAST_ROOT, PEAK_PLUS, PEAK_ROOT, SLOTS, WINDOWS_MIN,
)
from detectors.statistics import _NEWTON_STEPS, _NEWTON_TOLERANCE

cdef extern from *:
    """
    #ifndef TRIPLINE_SOURCE
    #define TRIPLINE_SOURCE ""
    #endif
    """
    const char* TRIPLINE_SOURCE
    object PyLong_FromDouble(double)

SOURCE = TRIPLINE_SOURCE.decode()
"""The digest of the source that it was built from."""

cdef enum:
    N_SLOTS = 24
    N_WINDOWS = 6
assert (SLOTS, len(WINDOWS_MIN)) == (N_SLOTS, N_WINDOWS)

cdef double job_from = _JOB_FROM, job_to = _JOB_TO, headroom = _JOB_HEADROOM, tail_times = _TAIL
cdef double ramp_least = _RAMP_FROM_LEAST, ramp_most = _RAMP_FROM_MOST, ramp_to = _RAMP_TO
cdef double peak_least = PEAK_LEAST, peak_least_root = PEAK_LEAST_ROOT, peak_least_plus = PEAK_LEAST_PLUS
cdef double peak_root = PEAK_ROOT, peak_plus = PEAK_PLUS, tolerance = _NEWTON_TOLERANCE
cdef int newton_steps = _NEWTON_STEPS, job_slots = _JOB_SLOTS
cdef double[N_WINDOWS] hours, exponents, floors
for _w in range(N_WINDOWS):
    hours[_w], exponents[_w], floors[_w] = WINDOWS_MIN[_w] / 60.0, EXPONENTS[_w], FLOORS[_w]


cdef inline double most(double a, double b) noexcept nogil:
    return b if b > a else a


cdef inline double least(double a, double b) noexcept nogil:
    return b if b < a else a


cdef double negative_binomial_limit(double mean, double dispersion, double exponent) noexcept nogil:
    cdef double size, in_mean, count, slope, excess, step
    cdef int tried
    mean = most(mean, 1e-6)
    size = 1.0 / dispersion
    in_mean = log((mean + size) / mean)
    count = mean + sqrt(2.0 * exponent * mean * (1.0 + dispersion * mean)) + exponent / 2.0
    for tried in range(newton_steps):
        slope = log(count / (count + size)) + in_mean
        excess = count * slope - size * log((count + size) / (mean + size)) - exponent
        step = excess / slope
        count = most(count - step, mean * (1.0 + 1e-9) + 1e-12)
        if fabs(step) <= tolerance * count:
            break
    return count


cdef void sort(double* values) noexcept nogil:
    cdef int at, back
    cdef double value
    for at in range(1, N_SLOTS):
        value, back = values[at], at
        while back and values[back - 1] > value:
            values[back] = values[back - 1]
            back -= 1
        values[back] = value


cdef double job_factor(double ratio, double start) noexcept nogil:
    if ratio <= start:
        return 1.0
    if ratio >= ramp_to:
        return headroom * ratio
    return 1.0 + (ratio - start) / (ramp_to - start) * (headroom * ramp_to - 1.0)


cdef double bounded(double limit, double peak, bint is_job, double times, double share) noexcept nogil:
    cdef double root = sqrt(peak)
    cdef double lowest = peak_least * peak + peak_least_root * root + peak_least_plus
    if not is_job:
        limit = least(limit, times * peak + peak_root * root + peak_plus + share * (headroom - times) * peak)
    return most(most(limit, lowest), share * headroom * peak)


cdef void remember(double* row, double* peaks, double* longer, double floor, double slack) noexcept nogil:
    """A window's limits after remembered jobs and tails (up) and, without a job, remembered peaks (down)."""
    cdef double[N_SLOTS] ordered
    cdef double ordinary, fifth, start, tail, wide, share, job
    cdef int slot
    for slot in range(N_SLOTS):
        ordered[slot] = peaks[slot]
    sort(ordered)
    ordinary = ordered[N_SLOTS - 1 - job_slots]
    for slot in range(N_SLOTS):
        ordered[slot] = peaks[slot] / row[slot]
    sort(ordered)
    fifth = ordered[N_SLOTS - 5]
    start = least(ramp_most, most(ramp_least, tail_times * fifth))
    tail = most(1.0, tail_times * fifth)
    for slot in range(N_SLOTS):
        wide = most(most(peaks[(slot + N_SLOTS - 1) % N_SLOTS], peaks[slot]), peaks[(slot + 1) % N_SLOTS])
        share = most(0.0, least((wide / most(ordinary, 1.0) - job_from) / (job_to - job_from), 1.0))
        job = 1.0 + share * (job_factor(wide / row[slot], start) - 1.0) if share > 0.0 else 1.0
        longer[slot] = job = most(longer[slot], job)
        row[slot] = most(floor, bounded(row[slot] * job * tail, most(wide, ordinary), job > 1.0, slack, share))


def limits_of(list bounds, tuple phis, list remembered, double slack):
    """See ``detectors.seasonal_limits.limits_of``."""
    cdef double[N_SLOTS] means, longer
    cdef double[N_WINDOWS][N_SLOTS] rows, peaks
    cdef float[::1] p_1 = remembered[0], p_5 = remembered[1], p_15 = remembered[2], p_60 = remembered[3]
    cdef double phi
    cdef int slot, window, before
    for slot in range(N_SLOTS):
        means[slot] = bounds[slot]
        longer[slot] = 1.0
        peaks[0][slot], peaks[1][slot], peaks[3][slot], peaks[5][slot] = p_1[slot], p_5[slot], p_15[slot], p_60[slot]
        peaks[2][slot] = pow(peaks[1][slot] * peaks[3][slot], 0.5)
        peaks[4][slot] = pow(peaks[3][slot] * peaks[5][slot], 0.5)
    for window in range(N_WINDOWS):
        phi = phis[window]
        for slot in range(N_SLOTS):
            before = 0
            while means[before] != means[slot]:
                before += 1
            if before < slot:  # neighbours often share the largest mean
                rows[window][slot] = rows[window][before]
                continue
            rows[window][slot] = most(
                negative_binomial_limit(means[slot] * hours[window], phi, exponents[window]), floors[window]
            )
    for window in range(N_WINDOWS - 1, -1, -1):
        remember(rows[window], peaks[window], longer, floors[window], slack)
    return [
        (
            PyLong_FromDouble(ceil(rows[0][slot])), PyLong_FromDouble(ceil(rows[1][slot])),
            PyLong_FromDouble(ceil(rows[2][slot])), PyLong_FromDouble(ceil(rows[3][slot])),
            PyLong_FromDouble(ceil(rows[4][slot])), PyLong_FromDouble(ceil(rows[5][slot])),
        )
        for slot in range(N_SLOTS)
    ]
