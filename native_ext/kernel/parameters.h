/* parameters.h: names and ranges of what app/cwts/parameters.toml lists and explains; generated from it
 * by cwts.kernel.generate. */
#ifndef CWTS_PARAMETERS_H
#define CWTS_PARAMETERS_H

enum cwts_parameter {
    CWTS_P_BARS_VOLUME_S = 0,
    CWTS_P_PANARCHY_USUAL_S = 1,
    CWTS_P_PANARCHY_SMOOTH_S = 2,
    CWTS_P_PANARCHY_FLOW_S = 3,
    CWTS_P_PANARCHY_REFILL_S = 4,
    CWTS_P_PANARCHY_DWELL_S = 5,
    CWTS_P_FIBONACCI_REVERSAL_SIGMA = 6,
    CWTS_P_FIBONACCI_HORIZON_S = 7,
    CWTS_P_FIBONACCI_TOLERANCE = 8,
    CWTS_P_ANTIFRAGILITY_SIGMA = 9,
    CWTS_P_ANTIFRAGILITY_HORIZON_S = 10,
    CWTS_P_ANTIFRAGILITY_MEMORY_S = 11
};

enum { CWTS_PARAMETER_COUNT = 12 };

static const float PARAMETER_LOW[CWTS_PARAMETER_COUNT] = {
    1.0f,
    10.0f,
    1.0f,
    5.0f,
    2.0f,
    1.0f,
    0.1f,
    1.0f,
    0.0f,
    0.1f,
    1.0f,
    60.0f
};

static const float PARAMETER_HIGH[CWTS_PARAMETER_COUNT] = {
    86400.0f,
    86400.0f,
    60.0f,
    3600.0f,
    3600.0f,
    600.0f,
    100.0f,
    3600.0f,
    10.0f,
    10.0f,
    3600.0f,
    86400.0f
};

#endif
