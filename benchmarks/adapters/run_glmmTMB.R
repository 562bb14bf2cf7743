# glmmTMB: maximum likelihood by Laplace's approximation, which is exact where the response is normal; its defaults.
#
# No priors, no draws: estimates only, so no effective sample size. Formulas are those of lme4.

source(file.path(dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))), "stages.R"))
suppressPackageStartupMessages(library(glmmTMB))

estimates <- function(model, spec) {
  found <- as.list(fixef(model)$cond)
  names(found)[names(found) == "(Intercept)"] <- "Intercept"
  covariances <- VarCorr(model)$cond
  for (group in spec$groups) {
    # one entry a bar: those of one factor are numbered (Subject, Subject.1)
    mine <- covariances[sub("\\.[0-9]+$", "", names(covariances)) == paste(group$columns, collapse = ":")]
    sds <- unlist(lapply(unname(mine), attr, "stddev"))
    for (effect in group$effects) {
      found[[sprintf("sd_%s[%s]", group$name, effect)]] <- sds[[if (effect == "Intercept") "(Intercept)" else effect]]
    }
    if (group$correlated) found[[paste0("corr_", group$name)]] <- attr(mine[[1]], "correlation")[2, 1] # the first pair
  }
  c(found, if (is.null(spec$sigma)) NULL else list(sigma = sigma(model)))
}

fit <- function(frame, spec) {
  family <- r_family(spec)
  suppressMessages(suppressWarnings(glmmTMB(r_formula(spec), frame, if (is.null(family)) gaussian() else family)))
}

run(list(
  packages = c("glmmTMB", "TMB"),
  note = "ML; Laplace's approximation where the response is not normal",
  fit = fit,
  predict = function(model, rows, spec) {
    of_trials(predict(model, rows, type = "response", allow.new.levels = TRUE), rows, spec)
  },
  estimates = estimates
))
