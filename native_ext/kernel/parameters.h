/* parameters.h: names and ranges of what app/cwts/parameters.toml lists and explains; generated from it
 * by cwts.kernel.generate. */
#ifndef CWTS_PARAMETERS_H
#define CWTS_PARAMETERS_H

enum cwts_parameter {
    CWTS_P_BARS_VOLUME_S = 0,
    CWTS_P_DECISION_WHALE_WEIGHT = 1,
    CWTS_P_DECISION_VALUE_WEIGHT = 2,
    CWTS_P_DECISION_CASCADE_EXIT = 3,
    CWTS_P_DECISION_CASCADE_ENTRY = 4,
    CWTS_P_DECISION_SWAN_EXIT = 5,
    CWTS_P_DECISION_CRITICALITY_MAX = 6,
    CWTS_P_DECISION_FRAGILITY_MAX = 7,
    CWTS_P_DECISION_LIQUIDATION_BP = 8,
    CWTS_P_DECISION_LIQUIDATION_MASS = 9,
    CWTS_P_DECISION_RISK_FLOOR = 10,
    CWTS_P_LIQUIDATION_HALF_LIFE_S = 11,
    CWTS_P_LIQUIDATION_CLUSTER = 12,
    CWTS_P_LIQUIDATION_MAINTENANCE = 13,
    CWTS_P_LIQUIDATION_WEIGHT_5 = 14,
    CWTS_P_LIQUIDATION_WEIGHT_10 = 15,
    CWTS_P_LIQUIDATION_WEIGHT_20 = 16,
    CWTS_P_LIQUIDATION_WEIGHT_25 = 17,
    CWTS_P_LIQUIDATION_WEIGHT_50 = 18,
    CWTS_P_LIQUIDATION_WEIGHT_75 = 19,
    CWTS_P_LIQUIDATION_WEIGHT_100 = 20
};

enum { CWTS_PARAMETER_COUNT = 21 };

static const float PARAMETER_LOW[CWTS_PARAMETER_COUNT] = {
    1.0f,
    -10.0f,
    -10.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    0.0f,
    0.01f,
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
    10.0f,
    10.0f,
    1.0f,
    1.0f,
    1.0f,
    1.0f,
    1.0f,
    10000.0f,
    1e+06f,
    1.0f,
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
