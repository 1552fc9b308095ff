"""What memory allows, on one page. Names in capitals are numbers, beside their policies.

All sizes are bytes, times seconds, shares and ratios have no unit. Each line is carried out by the
file that heads its part; `fitting`, `learning` and `readings` bring them into the state.

governor: how tight it is                                              in use    left
    target      TARGET_MEMORY x limit, at most `most`                    B
    most        limit - warn - MARGIN_FRACTION x limit                   B
    warn        the smaller of WARN_BYTES, WARN_FRACTION x limit                   B
    critical    the smaller of CRITICAL_BYTES, CRITICAL_FRACTION x limit           B
    pressure    left below critical, or below warn; falls again above HYSTERESIS x the mark;
                left counts as left / HYSTERESIS while stalls take STALL_PERCENT of the time;
                warn is critical where (B/s lost) x (s to the next look) exceeds left
    next look   (left - critical) / the larger of FILL_BYTES_PER_SECOND and cores x
                FILL_BYTES_PER_CORE, s, within LOOK_MIN_SECONDS and LOOK_MAX_SECONDS
    victim      the youngest chunk that holds HYSTERESIS x critical - left, else the largest;
                none where it holds less than FUTILE_SHARE of that
    crawl       stalls of CRAWL_PERCENT (unknown: growth under throttles) without room for
                CRAWL_SECONDS end the largest
peaks: what so many chunks take, weighted by their seconds
    each        the QUANTILE of the newest PEAKS_KEPT, at least the mean, B
    sum of n    n x mean + SUM_DEVIATIONS x deviation x sqrt(n x (1 + n / counted)), B, of the
                newest SUMS_KEPT; from MANY_PEAKS on, where it is below n x each
    spread      sum of n / (n x mean) - 1; unknown below SURE_PEAKS, or n / 2
window: how many chunks
    room        target - all else, B; up to `most` as the spread falls from 2 to 1 LITTLE_SPREAD
    chunks      the most whose sum fits into the room; room / told while TOLD_SLACK x told is not
                exceeded; within 1 and CHUNKS_MAX
    growth      + 1 a chunk; once halved + 1 a round, or REGROWTH of it; a death from WIDE_CHUNKS
                on halves once for all that were out
    first ones  UNKNOWN_TASK_BYTES up to GUESS_LOOK_SECONDS, then (1 + d) x grown + d x
                GUESS_EXTRA_BYTES, B, where d = GUESS_SECONDS / age, at least 1; age in threads is
                processor time, at least seconds / IDLE_SLOWER
sizes: what one task takes, by its numbers (NUMBERS_MAX of them)
    nearest     the highest of those within a ratio of NEAR, of SAMPLES_KEPT, B
    line        mean + slope x (size - mean size) + the highest of RESIDUALS_KEPT misses, B; scaled,
                x the highest of as many ratios to it
    charge      SLACK x said - took, B; a miss MISS_PRICE x what is missing, or x all that it took
                beyond ALIKE x said + ALIKE_BYTES
    gain        charge of one reserve for all - charge of the form, B s, DISCOUNT a task; the best
                speaks above WORTH of what was used, after VOTES_MIN, with all NEARLY as good, from
                SURE_VOTES on alone
    reserve     SLACK x the highest word + SLACK_BYTES, B
    never seen  beyond NEVER_SEEN x the largest: the highest, B, x the ratio, GUESS_RATIO_MAX at
                most; unless sizes REFUTED apart took about the same
admission: whose reserve fits
    asked for   once a chunk took SIZED_BYTES and its tasks SIZED_SECONDS; of KINDS_KEPT functions
    room        target + (most - target) x (2 - waste / PRECISE, within 0 and 1) - all else, B
    taken       the larger of reserve and grown, of each chunk, and what idle workers keep, B; of
                one never seen, from PROBE_SECONDS on, at most 2 x grown + GUESS_EXTRA_BYTES
walls: what is refused
    each        (limit - all else - critical - the larger ones) / chunks, B, at least WALL_BYTES_MIN
    larger ones GROWN_SLACK x what they have, or are expected to take, B
    told        TOLD_SLACK x told + WALL_SLACK_BYTES, B
    own group   limit - all else - others' chunks - HARD_KEPT_SHARE x critical, B, where a kill ends
                one worker
    moved       where it changes by one in MOVE_SHARE, HARD_MOVE_SHARE
    no more     of UNWALLED_MAX functions that used less than TOUCHED_SHARE of what they reserved
recycle: which worker goes
    too large   kept - kept after its first chunk, B, at least FAIR_BYTES_MIN and a fair part
    leak        growth in each of LEAK_MARKS of the newest MARKS_KEPT chunks, LEAK_BYTES_MIN in
                all, the second half STEADY_SHARE of the first; or in LEAK_WORKERS in a row
fitting: who speaks
    grown       what one in CHANGE_SHARE of the running chunks has exceeded counts beyond `each`, B
    share       what others leave, B, x (1 + SHARE_SLACK)
    unmeasured  after UNMEASURED_MAX chunks pressure alone holds
    people      are told of a window that changed by one in TOLD_SHARE
learning: what is asked
    sizes       of arguments, where a task takes SIZED_SECONDS
readings: when
    look        CALM_LOOK_SECONDS apart after CALM_LOOKS within STILL_SHARE of the limit
    idle        the last worker goes at critical that keeps WORTH_A_START_BYTES
    waits       ROOM_SECONDS for room, ROOM_AGAIN_SECONDS after one in vain; SETTLE_SECONDS after a
                kill; TRIM_SECONDS between collections of garbage
revealed: what a kill shows of a limit that cannot be seen
    limit       the most that was used, B, up to BELOW_SHARE of the known one; after another kill
                below it LOWER_SHARE of it; once in SETTLED_SECONDS
"""
