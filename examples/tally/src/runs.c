#include <R.h>
#include <Rinternals.h>
#include <R_ext/Rdynload.h>

/* Lengths of the runs of equal values in an integer vector. */
SEXP tally_runs(SEXP x)
{
    R_xlen_t n = XLENGTH(x), used = 0;
    const int *values = INTEGER(x);
    SEXP lengths = PROTECT(allocVector(INTSXP, n));
    int *out = INTEGER(lengths);

    for (R_xlen_t i = 0; i < n; i++) {
        if (i == 0 || values[i] != values[i - 1])
            out[used++] = 0;
        out[used - 1]++;
    }
    lengths = PROTECT(xlengthgets(lengths, used));
    UNPROTECT(2);
    return lengths;
}

static const R_CallMethodDef calls[] = {
    {"tally_runs", (DL_FUNC) &tally_runs, 1},
    {NULL, NULL, 0}
};

void R_init_tally(DllInfo *dll)
{
    R_registerRoutines(dll, NULL, calls, NULL, NULL);
    R_useDynamicSymbols(dll, FALSE);
}
