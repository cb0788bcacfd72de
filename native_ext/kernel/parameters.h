/* parameters.h: names and ranges of what app/cwts/parameters.toml lists and explains; generated from it
 * by cwts.kernel.generate. */
#ifndef CWTS_PARAMETERS_H
#define CWTS_PARAMETERS_H

enum cwts_parameter {
    CWTS_P_BARS_VOLUME_S = 0
};

enum { CWTS_PARAMETER_COUNT = 1 };

static const float PARAMETER_LOW[CWTS_PARAMETER_COUNT] = {
    1.0f
};

static const float PARAMETER_HIGH[CWTS_PARAMETER_COUNT] = {
    86400.0f
};

#endif
