/* parameters.h: names and ranges of what app/cwts/parameters.toml lists and explains; generated from it
 * by cwts.kernel.generate. */
#ifndef CWTS_PARAMETERS_H
#define CWTS_PARAMETERS_H

enum cwts_parameter {
    CWTS_P_BARS_VOLUME_S = 0,
    CWTS_P_SOC_WINDOW_MS = 1,
    CWTS_P_SOC_MEMORY_S = 2,
    CWTS_P_SOC_GAP = 3,
    CWTS_P_SOC_SAMPLE = 4,
    CWTS_P_SWAN_K_SIGMA = 5,
    CWTS_P_SWAN_HORIZON_S = 6,
    CWTS_P_SWAN_VOLATILITY_S = 7,
    CWTS_P_SWAN_MEMORY_S = 8,
    CWTS_P_SWAN_QUANTILE = 9,
    CWTS_P_SWAN_ON = 10,
    CWTS_P_SWAN_VACUUM_ON = 11,
    CWTS_P_SWAN_OFF = 12,
    CWTS_P_SWAN_HOLD_S = 13
};

enum { CWTS_PARAMETER_COUNT = 14 };

static const float PARAMETER_LOW[CWTS_PARAMETER_COUNT] = {
    1.0f,
    400.0f,
    10.0f,
    0.01f,
    50.0f,
    1.0f,
    1.0f,
    5.0f,
    100.0f,
    0.5f,
    0.001f,
    0.05f,
    0.0f,
    1.0f
};

static const float PARAMETER_HIGH[CWTS_PARAMETER_COUNT] = {
    86400.0f,
    600000.0f,
    1e+06f,
    100.0f,
    1e+06f,
    1000.0f,
    900.0f,
    100000.0f,
    1e+07f,
    0.999f,
    1.0f,
    1.0f,
    0.99f,
    86400.0f
};

#endif
