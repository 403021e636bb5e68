/** The owners with a valid proof of an account. If there are several, none of them is shown as its owner. */
import type { Graph, Report } from 'kez'

/** Whether another owner has a valid proof of the same account. */
export const isContested = ({ notes }: Pick<Report, 'notes'>): boolean => notes.includes('contested')

/**
 * The owners that have a valid proof of an account, the best proof first. An identity that was looked up by another
 * account names only the owner that it is about.
 */
export function ownersOf(subject: string, edges: readonly Report[], graph: Graph | null | undefined): string[] {
  const owners = edges.filter((edge) => edge.subject === subject && edge.status === 'valid').map(({ primary }) => primary)
  if (owners.length > 0 && graph?.query === subject) owners.push(...(graph.contested_by ?? []))
  return [...new Set(owners.filter((owner) => owner !== null))]
}

/** How many accounts there are, and how many of them are proven for one owner alone. */
export function countsOf(edges: readonly Report[]): { valid: number; all: number } {
  const count = (some: readonly Report[]) => new Set(some.map(({ subject }) => subject)).size
  return { valid: count(proven(edges)), all: count(edges) }
}

/** The reports on accounts that are proven, and for one owner alone. */
export const proven = (edges: readonly Report[]): Report[] => edges.filter((edge) => edge.status === 'valid' && !isContested(edge))
