# lme4: restricted maximum likelihood, or Laplace's approximation where the response is not normal; its defaults.
#
# No priors, no draws: estimates only, so no effective sample size. Correlated and independent effects, nested and
# crossed factors are as in our formulas, which come from it.

source(file.path(dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))), "stages.R"))
suppressPackageStartupMessages(library(lme4))

estimates <- function(model, spec) {
  found <- as.list(fixef(model))
  names(found)[names(found) == "(Intercept)"] <- "Intercept"
  variances <- as.data.frame(VarCorr(model))
  for (group in spec$groups) {
    # lme4 numbers the bars of one factor (Subject, Subject.1), and names nested factors from the inside
    name <- sub("\\.[0-9]+$", "", variances$grp)
    mine <- variances[name %in% sapply(list(group$columns, rev(group$columns)), paste, collapse = ":"), ]
    for (effect in group$effects) {
      row <- mine$var1 == (if (effect == "Intercept") "(Intercept)" else effect) & is.na(mine$var2)
      found[[sprintf("sd_%s[%s]", group$name, effect)]] <- mine$sdcor[row]
    }
    if (group$correlated) found[[paste0("corr_", group$name)]] <- mine$sdcor[!is.na(mine$var2)][1] # the first pair
  }
  c(found, if (is.null(spec$sigma)) NULL else list(sigma = sigma(model)))
}

fit <- function(frame, spec) {
  family <- r_family(spec)
  suppressMessages(suppressWarnings(
    if (is.null(family)) lmer(r_formula(spec), frame) else glmer(r_formula(spec), frame, family)
  ))
}

run(list(
  packages = c("lme4", "Matrix"),
  note = "REML; Laplace's approximation where the response is not normal",
  fit = fit,
  predict = function(model, rows, spec) {
    of_trials(predict(model, rows, type = "response", allow.new.levels = TRUE), rows, spec)
  },
  estimates = estimates
))
