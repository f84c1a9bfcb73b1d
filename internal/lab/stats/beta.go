package stats

import "math"

// betaInc is the regularised incomplete beta function I_x(a, b), by its continued fraction (Abramowitz and
// Stegun 26.5.8, evaluated by Lentz's method).
func betaInc(x, a, b float64) float64 {
	if x <= 0 {
		return 0
	}
	if x >= 1 {
		return 1
	}
	// The fraction converges fast below the mean, and I_x(a,b) = 1 - I_1-x(b,a).
	if x > (a+1)/(a+b+2) {
		return 1 - betaInc(1-x, b, a)
	}
	return math.Exp(a*math.Log(x)+b*math.Log1p(-x)-lbeta(a, b)) / a * betaFraction(x, a, b)
}

func lbeta(a, b float64) float64 {
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	return la + lb - lab
}

func betaFraction(x, a, b float64) float64 {
	const tiny, eps, most = 1e-300, 1e-15, 100_000
	away := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	f := d
	for i := 1; i < most; i++ {
		m := float64(i)
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d, c = 1/away(1+even*d), away(1+even/c)
		f *= c * d
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d, c = 1/away(1+odd*d), away(1+odd/c)
		f *= c * d
		if math.Abs(c*d-1) < eps {
			break
		}
	}
	return f
}

// binomialCDF is P(B <= k) for B ~ Binomial(n, p).
func binomialCDF(k, n int, p float64) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n:
		return 1
	default:
		return betaInc(1-p, float64(n-k), float64(k+1))
	}
}

// studentCDF is P(T <= t) with df degrees of freedom.
func studentCDF(t, df float64) float64 {
	tail := betaInc(df/(df+t*t), df/2, 0.5) / 2
	if t > 0 {
		return 1 - tail
	}
	return tail
}

// studentQuantile is the t below which p lies, found by bisection: p of at least 0.5.
func studentQuantile(p, df float64) float64 {
	lo, hi := 0.0, 1.0
	for studentCDF(hi, df) < p {
		lo, hi = hi, hi*2
	}
	for range 100 {
		mid := (lo + hi) / 2
		if studentCDF(mid, df) < p {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}
