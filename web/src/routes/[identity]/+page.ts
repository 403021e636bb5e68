// There are as many as there are people.
export const prerender = false
