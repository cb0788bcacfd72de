/* parameters.h: names and ranges of what app/cwts/parameters.toml lists and explains; generated from it
 * by cwts.kernel.generate. */
#ifndef CWTS_PARAMETERS_H
#define CWTS_PARAMETERS_H

enum cwts_parameter {
    CWTS_P_BARS_VOLUME_S = 0,
    CWTS_P_LIQUIDATION_HALF_LIFE_S = 1,
    CWTS_P_LIQUIDATION_CLUSTER = 2,
    CWTS_P_LIQUIDATION_MAINTENANCE = 3,
    CWTS_P_LIQUIDATION_WEIGHT_5 = 4,
    CWTS_P_LIQUIDATION_WEIGHT_10 = 5,
    CWTS_P_LIQUIDATION_WEIGHT_20 = 6,
    CWTS_P_LIQUIDATION_WEIGHT_25 = 7,
    CWTS_P_LIQUIDATION_WEIGHT_50 = 8,
    CWTS_P_LIQUIDATION_WEIGHT_75 = 9,
    CWTS_P_LIQUIDATION_WEIGHT_100 = 10
};

enum { CWTS_PARAMETER_COUNT = 11 };

static const float PARAMETER_LOW[CWTS_PARAMETER_COUNT] = {
    1.0f,
    60.0f,
    1.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f
};

static const float PARAMETER_HIGH[CWTS_PARAMETER_COUNT] = {
    86400.0f,
    2.592e+06f,
    1000.0f,
    0.1f,
    1.0f,
    1.0f,
    1.0f,
    1.0f,
    1.0f,
    1.0f,
    1.0f
};

#endif
