# rstanarm: NUTS in Stan on a model compiled when the package was built, so nothing is compiled here.
#
# Priors that match ours: intercept (at the mean of X, as ours), common effects, sigma (half-t), LKJ's eta
# (`regularization`). That of the group standard deviations cannot: rstanarm has them in units of sigma, as
# decov(shape = 1, scale = 1), its default. autoscale is off for the others, as they come scaled.
#
# Settings: its defaults (adapt_delta 0.95 with group effects), with our 4 chains of 1,000 draws after 1,000, and as
# many processes as processors, where its default is one. Its fit also computes summaries of all parameters.
# A prediction is the average of the draws of the mean; new groups are drawn from the population.

source(file.path(dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))), "stages.R"))
suppressPackageStartupMessages(library(rstanarm))

fit <- function(frame, spec) {
  priors <- list(
    prior_intercept = normal(spec$intercept$mu, spec$intercept$sigma),
    prior_covariance = decov(regularization = spec$lkj_eta)
  )
  if (length(spec$common)) priors$prior <- normal(0, unlist(spec$common_sds))
  settings <- list(chains = spec$chains, iter = spec$tune + spec$draws, warmup = spec$tune, cores = spec$cores)
  if (is.null(spec$sigma)) {
    settings$family <- r_family(spec)
  } else {
    priors$prior_aux <- student_t(spec$sigma$nu, 0, spec$sigma$sigma)
  }
  suppressWarnings(do.call(if (is.null(spec$sigma)) stan_glmer else stan_lmer, c(
    list(formula = r_formula(spec), data = frame, seed = spec$seed, refresh = 0), priors, settings
  )))
}

# Sigma[Subject:Days,(Intercept)] of rstanarm; bars of one factor are told apart by their effects
covariance_of <- function(all, group, row, column) {
  label <- function(effect) if (effect == "Intercept") "(Intercept)" else effect
  for (name in sapply(list(group$columns, rev(group$columns)), paste, collapse = ":")) {
    entry <- sprintf("Sigma[%s:%s,%s]", name, label(row), label(column))
    if (entry %in% dimnames(all)[[3]]) return(all[, , entry])
  }
  stop("no covariance of ", group$name)
}

draws <- function(model, spec) {
  all <- as.array(model)
  found <- list(Intercept = all[, , "(Intercept)"])
  for (name in unlist(spec$common)) found[[name]] <- all[, , name]
  for (group in spec$groups) {
    variances <- lapply(group$effects, function(effect) covariance_of(all, group, effect, effect))
    for (k in seq_along(variances)) {
      found[[sprintf("sd_%s[%s]", group$name, group$effects[[k]])]] <- sqrt(variances[[k]])
    }
    if (group$correlated) {
      covariance <- covariance_of(all, group, group$effects[[2]], group$effects[[1]])
      found[[paste0("corr_", group$name)]] <- covariance / sqrt(variances[[1]] * variances[[2]])
    }
  }
  if (!is.null(spec$sigma)) found$sigma <- all[, , "sigma"]
  # all of them, not only as many as are kept of others: it does not get to problems of more levels in time
  found$b_all <- all[, , grep("^b\\[", dimnames(all)[[3]]), drop = FALSE]
  found
}

run(list(
  packages = c("rstanarm", "rstan", "lme4"),
  note = "prior of the group sds relative to sigma",
  fit = fit,
  predict = function(model, rows, spec) of_trials(colMeans(posterior_epred(model, rows)), rows, spec),
  draws = draws
))
