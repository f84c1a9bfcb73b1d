// Package report turns record files into a document: the tables of the reference study over whatever
// machines, cards, subjects and steps were measured, the method behind them, and findings that named
// rules draw from intervals. It reads records alone and asks no server; the same records give the same
// document. docs/figures.md defines every derived figure and rule.
package report
