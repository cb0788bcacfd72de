/* panarchy.c: the adaptive cycle (Gunderson & Holling, Panarchy, 2002): growth r, conservation K, release, reorganisation,
 * from a book's potential, connectedness and resilience. A table says phase and risk for each of 16 x 16 x 16 steps of them.
 * docs/panarchy.md */
#include "numeric.h"

enum { GROWTH, CONSERVATION, RELEASE, REORGANISATION, PHASES };

#define WARM_SECONDS 30
#define MAJORITY 0.25 /* by which another phase's votes must exceed the present one's */

/* Each phase's place: potential, connectedness, resilience; and how much risk it deserves. */
static const double ARCHETYPE[PHASES][3] = {
    [GROWTH] = {0.45, 0.05, 0.6}, [CONSERVATION] = {0.55, 0.35, 0.45}, [RELEASE] = {0.1, 0.45, 0.1}, [REORGANISATION] = {0.15, 0.25, 0.75}};
static const double PHASE_RISK[PHASES] = {[GROWTH] = 1.0, [CONSERVATION] = 0.7, [RELEASE] = 0.0, [REORGANISATION] = 0.4};

/* Fills the table: the nearest phase, and the phases' risks weighted by 1 / (distance^2 + 1/100). */
static void panarchy_init(cwts_block *k) {
    cwts_panarchy *p = &k->panarchy;
    for (u32 cell = 0; cell < CWTS_PANARCHY_CELLS; cell++) {
        double at[3] = {((double)(cell >> 8) + 0.5) / 16.0, ((double)(cell >> 4 & 15) + 0.5) / 16.0, ((double)(cell & 15) + 0.5) / 16.0};
        double nearest = 1e9, risks = 0.0, weights = 0.0;
        for (u32 phase = 0; phase < PHASES; phase++) {
            double distance = 0.0;
            for (u32 i = 0; i < 3; i++) distance += (at[i] - ARCHETYPE[phase][i]) * (at[i] - ARCHETYPE[phase][i]);
            if (distance < nearest) {
                nearest = distance;
                p->phase_of[cell] = (u8)phase;
            }
            risks += PHASE_RISK[phase] / (distance + 0.01);
            weights += 1.0 / (distance + 0.01);
        }
        p->risk_of[cell] = (u8)(255.0 * risks / weights + 0.5);
    }
}

/* Brings what was measured up to the second that ended. */
static void panarchy_measure(cwts_block *k, const cwts_bar *bar) {
    cwts_panarchy *p = &k->panarchy;
    const float *parameter = k->config.parameter;
    double keep = 1.0 - 1.0 / (double)parameter[CWTS_P_PANARCHY_FLOW_S], keep_depth = 1.0 - 1.0 / (double)parameter[CWTS_P_PANARCHY_REFILL_S];
    double bought = (double)bar->bought, sold = (double)bar->sold, depth = bar->depth[CWTS_BID] + bar->depth[CWTS_ASK];
    double flow = bought + sold > 0.0 ? (bought - sold) / (bought + sold) : 0.0, before = p->depth;
    int follows = p->since++ > 0 && bar->second == p->second + 1;
    p->usual += (depth - p->usual) * bar_share((double)parameter[CWTS_P_PANARCHY_USUAL_S], ++p->seconds);
    p->depth = follows ? before + (depth - before) / (double)parameter[CWTS_P_PANARCHY_SMOOTH_S] : depth;
    if (follows && p->usual > 0.0) {
        double won = (p->depth - before) / p->usual;
        p->returned = p->returned * keep_depth + (won > 0.0 ? won : 0.0);
        p->eaten = p->eaten * keep_depth + (won < 0.0 ? -won : 0.0);
        p->product = p->product * keep + p->flow * flow;
        p->square = p->square * keep + flow * flow;
    }
    p->flow = flow;
    p->second = bar->second;
    double filled = p->usual > 0.0 ? p->depth / p->usual : 0.0, moved = p->returned + p->eaten;
    p->coordinate[0] = filled * filled / (1.0 + filled * filled);
    p->coordinate[1] = p->square > 1e-12 ? clamp(p->product / p->square, 0.0, 1.0) : 0.0;
    p->coordinate[2] = moved > 1e-12 ? p->returned / moved : 0.5;
}

static void panarchy_second(cwts_block *k) {
    cwts_panarchy *p = &k->panarchy;
    const cwts_bar *bar = bar_at(&k->bars, 0);
    float *signal = k->signals.value;
    signal[CWTS_S_PHASE] = signal[CWTS_S_RISK] = 0.0f;
    if (!bar->synced) {
        p->since = 0;
        for (u32 phase = 0; phase < PHASES; phase++) p->vote[phase] = 0.0;
        p->risk = 0.0f;
        return;
    }
    panarchy_measure(k, bar);
    p->cell = 0;
    for (u32 i = 0; i < 3; i++) p->cell = p->cell << 4 | (u32)clamp(p->coordinate[i] * 16.0, 0.0, 15.0);
    double dwell = (double)k->config.parameter[CWTS_P_PANARCHY_DWELL_S];
    u32 says = p->phase_of[p->cell];
    for (u32 phase = 0; phase < PHASES; phase++) p->vote[phase] += ((double)(phase == says) - p->vote[phase]) / dwell;
    if (p->vote[says] > p->vote[p->phase] + MAJORITY) {
        p->phase = says;
        p->changes++;
    }
    float risk = (float)p->risk_of[p->cell] * (1.0f / 255.0f);
    p->risk = risk < p->risk ? risk : p->risk + (risk - p->risk) / (float)dwell; /* falls at once, returns slowly */
    if (p->seconds < WARM_SECONDS || (double)p->since < dwell) return;
    signal[CWTS_S_PHASE] = (float)p->phase;
    signal[CWTS_S_RISK] = p->risk;
}
