# The peers' estimates of the models of families_vs_lme4.py, which reads them from families_vs_lme4.json:
#
#     Rscript benchmarks/families_vs_lme4.R FOLDER > benchmarks/families_vs_lme4.json
#
# FOLDER holds tables of the public registry MixedBench (scoreboard.py says which); grouseticks and cbpp are
# lme4's own. Maximum likelihood throughout. lme4's glmer where it has the family, with 25 adaptive quadrature points:
# each model has one scalar effect. glmmTMB, by Laplace's approximation, where lme4 has none (beta, t), or none that
# estimates the auxiliary parameter by maximum likelihood with the rest (negative binomial, gamma).
suppressPackageStartupMessages({
  library(lme4)
  library(glmmTMB)
  library(jsonlite)
})

folder <- commandArgs(trailingOnly = TRUE)[1]
table_of <- function(file) {
  frame <- read.csv(file.path(folder, paste0(file, ".csv.gz")), check.names = FALSE)
  classes <- fromJSON(file.path(folder, paste0(file, ".json")))
  for (name in names(classes)) {
    if (!is.null(classes[[name]]$levels)) frame[[name]] <- factor(frame[[name]], levels = classes[[name]]$levels)
  }
  frame
}

data(grouseticks, cbpp, package = "lme4")
teeth <- table_of("rethinking__data-AMTL.csv")
infections <- table_of("gamlss.data__respInf")
seizures <- table_of("faraway__epilepsy")
durations <- table_of("languageR__durationsGe")
surveys <- table_of("hox__MultResp.sav")
premiums <- transform(table_of("gamlss.data__hodges"), enrolled = enind / 1000)

quadrature <- function(formula, frame, family) {
  fit <- glmer(formula, frame, family = family, nAGQ = 25, control = glmerControl("bobyqa"))
  messages <- fit@optinfo$conv$lme4$messages
  common <- summary(fit)$coefficients
  list(fit = fit, common = common, sd = as.data.frame(VarCorr(fit))$sdcor[1], messages = messages)
}
laplace <- function(formula, frame, family) {
  fit <- glmmTMB(formula, frame, family = family)
  common <- summary(fit)$coefficients$cond
  messages <- if (fit$fit$convergence != 0 || !fit$sdr$pdHess) fit$fit$message
  list(fit = fit, common = common, sd = attr(VarCorr(fit)$cond[[1]], "stddev")[[1]], messages = messages)
}
linear <- function(formula, frame, family) { # the logarithm of a log-normal response is normal
  fit <- lmer(formula, frame, REML = FALSE)
  common <- summary(fit)$coefficients
  list(fit = fit, common = common, sd = as.data.frame(VarCorr(fit))$sdcor[1], messages = NULL)
}

entry <- function(data, family, link, how, formula, frame, r_family = NULL) {
  found <- how(formula, frame, r_family)
  by <- if (inherits(found$fit, "glmmTMB")) "glmmTMB" else "lme4"
  method <- if (identical(how, quadrature)) "25 quadrature points" else if (by == "glmmTMB") "Laplace" else "exact"
  list(
    data = data, family = family, link = link, formula = deparse1(formula),
    software = paste(by, packageVersion(by)), method = method, rows = nobs(found$fit),
    names = sub("(Intercept)", "Intercept", rownames(found$common), fixed = TRUE),
    estimates = unname(found$common[, 1]), errors = unname(found$common[, 2]),
    group_sd = found$sd, messages = as.list(found$messages)
  )
}
over_links <- function(links, family, ..., r_family) {
  lapply(links, function(link) entry(family = family, link = link, ..., r_family = r_family(link = link)))
}

probability <- c("logit", "probit", "cloglog")
lost <- cbind(num_amtl, sockets - num_amtl) ~ age + tooth_class + prob_male + (1 | specimen)
rates <- respons ~ mode + varlevel + year + saliency + (1 | source)
fits <- c(
  list(
    entry("grouseticks", "poisson", "log", quadrature, TICKS ~ YEAR + cHEIGHT + (1 | BROOD), grouseticks, poisson()),
    entry(
      "epilepsy", "negativebinomial", "log", laplace,
      seizures ~ treat + expind + treat:expind + offset(log(timeadj)) + (1 | id), seizures, nbinom2()
    ),
    entry(
      "respInf", "binomial", "logit", quadrature,
      time ~ age + xero + female + height + stunted + cosine + sine + (1 | id), infections, binomial()
    )
  ),
  over_links(probability, "binomial", data = "AMTL", how = quadrature, formula = lost, frame = teeth, r_family = binomial),
  over_links(
    probability, "binomial",
    data = "cbpp", how = quadrature, formula = cbind(incidence, size - incidence) ~ period + (1 | herd), frame = cbpp,
    r_family = binomial
  ),
  list(entry(
    "durationsGe", "gamma", "log", laplace, DurationOfPrefix ~ log(Frequency) + SpeechRate + (1 | Speaker), durations,
    Gamma(link = "log")
  )),
  over_links(probability, "beta", data = "MultResp", how = laplace, formula = rates, frame = surveys, r_family = beta_family),
  list(
    entry("hodges", "t", "identity", laplace, prind ~ enrolled + (1 | state), premiums, t_family()),
    entry(
      "durationsGe", "lognormal", "identity", linear,
      log(DurationOfPrefix) ~ log(Frequency) + SpeechRate + (1 | Speaker), durations
    )
  )
)
about <- list(software = R.version.string, note = "maximum likelihood, written by families_vs_lme4.R", fits = fits)
cat(toJSON(about, auto_unbox = TRUE, digits = 12, pretty = TRUE), "\n")
