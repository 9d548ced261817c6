runs <- function(x) {
  .Call(tally_runs, as.integer(x))
}
