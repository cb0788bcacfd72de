/* parameters.h: names and ranges of what app/cwts/parameters.toml lists and explains; generated from it
 * by cwts.kernel.generate. */
#ifndef CWTS_PARAMETERS_H
#define CWTS_PARAMETERS_H

enum cwts_parameter {
    CWTS_P_BARS_VOLUME_S = 0,
    CWTS_P_WHALE_QUANTILE = 1,
    CWTS_P_WHALE_MEMORY = 2,
    CWTS_P_WHALE_LEAST = 3,
    CWTS_P_WHALE_GAP_MS = 4,
    CWTS_P_WHALE_CLUSTER_S = 5,
    CWTS_P_WHALE_DECAY_S = 6,
    CWTS_P_WHALE_SCALE = 7,
    CWTS_P_WHALE_NEST_QUANTILE = 8,
    CWTS_P_WHALE_NEST_MEMORY_S = 9,
    CWTS_P_WHALE_NEST_WEIGHT = 10,
    CWTS_P_WHALE_PERSIST_S = 11,
    CWTS_P_WHALE_LOOK_MS = 12,
    CWTS_P_WHALE_NEAR_TICKS = 13,
    CWTS_P_WHALE_PULL_S = 14,
    CWTS_P_WHALE_ICEBERG_RATIO = 15,
    CWTS_P_WHALE_ICEBERG_S = 16
};

enum { CWTS_PARAMETER_COUNT = 17 };

static const float PARAMETER_LOW[CWTS_PARAMETER_COUNT] = {
    1.0f,
    0.5f,
    50.0f,
    10.0f,
    0.0f,
    0.01f,
    0.1f,
    0.01f,
    0.5f,
    10.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    1.0f,
    1.0f,
    0.1f
};

static const float PARAMETER_HIGH[CWTS_PARAMETER_COUNT] = {
    86400.0f,
    0.9999f,
    1e+06f,
    1e+06f,
    10000.0f,
    60.0f,
    86400.0f,
    1000.0f,
    0.9999f,
    86400.0f,
    100.0f,
    3600.0f,
    60000.0f,
    100000.0f,
    86400.0f,
    1000.0f,
    3600.0f
};

#endif
