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
    CWTS_P_DECISION_RISK_FLOOR = 10
};

enum { CWTS_PARAMETER_COUNT = 11 };

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
    0.01f
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
    1.0f
};

#endif
